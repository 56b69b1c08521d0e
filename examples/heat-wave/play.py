"""Plays a heat wave on a real daemon, and prints each change of the plan in force:

    python3 examples/heat-wave/play.py [--quick]

The daemon reads its sensors from a folder with a recorded tree, in which this script changes the temperature, and drives a fan that is a
file in that folder. Pictures go into the watched folder all the time. The last line has the counts of samples, as JSON.

It builds what it needs, packs the release, and signs it with a throw-away key. Set HOTSHOE to the path of a built binary to use that one.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PICTURE = ROOT / "target/fixtures/pictures/text.png"
# What the set-up makes.
NEEDED = [PICTURE, ROOT / "target/fixtures/models/classify-angle.onnx"] + [
    ROOT / f"target/guests/{name}.wasm"
    for name in ("classify-angle-pre", "classify-angle-post", "empty-policy", "governor")
]
# Degrees Celsius. Each is one change of the plan.
WAVE = [60.0, 70.0, 80.0, 90.0, 80.0, 70.0, 60.0, 40.0]
FULL_FAN = 200
PICTURES_PER_SECOND = 20
# Files that may wait in the watched folder, while the device rests.
MOST_WAITING = 40
# Longest wait for anything, in seconds.
DEADLINE = 120.0


def hotshoe(*arguments):
    """The command line of `hotshoe`."""
    built = os.environ.get("HOTSHOE")
    program = [built] if built else ["cargo", "run", "--quiet", "--bin", "hotshoe", "--"]
    return [*program, *map(str, arguments)]


def run(*arguments):
    """Runs `hotshoe` to its end, and returns what it printed."""
    done = subprocess.run(hotshoe(*arguments), cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"hotshoe {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return done.stdout


def until(what, is_so):
    """Waits until `is_so` returns something true, and returns it."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = is_so()
        if found:
            return found
        time.sleep(0.05)
    sys.exit(f"not within {DEADLINE:.0f} s: {what}")


class Board:
    """A device in a folder: its sensors, its fan, its configuration and its daemon."""

    def __init__(self, folder, quick):
        self.folder = Path(folder)
        self.inbox = self.folder / "inbox"
        self.inbox.mkdir()
        self.fan = self.folder / "fan"
        self.fan.write_text("0")
        self.zone = self.folder / "tree/sys/class/thermal/thermal_zone0"
        self.zone.mkdir(parents=True)
        (self.zone / "type").write_text("cpu-thermal\n")
        self.heat(40.0)
        self.config = self.folder / "hotshoe.toml"
        self.config.write_text(self.settings(quick))

    def settings(self, quick):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        period, least, calm = (100, 300, 400) if quick else (1000, 3000, 5000)
        return f"""
site = "lab"
device = "board"
trust = "trust.toml"
[zenoh]
listen = ["tcp/127.0.0.1:{port}"]
[watch]
folder = "inbox"
after = "delete"
[governor]
sensors = "tree"
period-ms = {period}
least-time-ms = {least}
calm-ms = {calm}
[governor.outputs.fan]
file = "fan"
off = 0
full = {FULL_FAN}
"""

    def install(self):
        folder = self.folder
        run("keygen", "--no-passphrase", "--out", folder, "--name", "run")
        run("trust", "--key", f"run={folder}/run.pub", "--out", folder / "trust.toml")
        run("pack", HERE / "release.toml", "--out", folder / "release")
        run("sign", folder / "release", "--key", folder / "run.key")
        run("install", folder / "release", "--config", self.config)

    def start(self):
        log = open(self.folder / "daemon.log", "wb")
        command = hotshoe("run", "--config", self.config)
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def status(self):
        """The status of the daemon; nothing while it does not answer."""
        command = hotshoe("status", "--config", self.config, "--json")
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        try:
            return json.loads(said.stdout)[0]
        except (json.JSONDecodeError, KeyError, IndexError):
            return None

    def heat(self, celsius):
        """Replaces the file of the temperature as a whole."""
        new = self.folder / "new"
        new.write_text(f"{celsius * 1000:.0f}\n")
        os.rename(new, self.zone / "temp")

    def waiting(self):
        """Pictures that wait. The daemon has folders of its own in the watched folder."""
        return [name for name in os.listdir(self.inbox) if name.endswith(".png")]

    def feed(self, is_over):
        """Puts pictures into the watched folder until told to stop."""
        number = 0
        while not is_over.wait(1 / PICTURES_PER_SECOND):
            if len(self.waiting()) < MOST_WAITING:
                new = self.folder / "new.png"
                shutil.copyfile(PICTURE, new)
                os.rename(new, self.inbox / f"{number}.png")
                number += 1


def rate(plan):
    value = plan.get("rate", {}).get("value") or {}
    parts = []
    if value.get("every", 1) > 1:
        parts.append(f"1 of {value['every']}")
    if value.get("interval_ms", 0) > 0:
        parts.append(f"each {value['interval_ms']} ms")
    return ", ".join(parts) or "all"


def line(celsius, governor, fan):
    """What is in force, and the first of its reasons."""
    plan = governor["plan"]
    mode = "rests" if "rest" in plan else governor.get("mode") or "full"
    items = [plan[name] for name in ("rest", "mode", "rate", "output.fan") if name in plan]
    reason = items[0]["reason"] if items else "nothing is wrong"
    return f"{celsius:5.1f} C  {mode:8} {rate(plan):20} fan {fan:>3} of {FULL_FAN}  {reason}"


def play(board, hold_seconds):
    def governor():
        status = board.status()
        return status and status.get("governor")

    now = until("the daemon reads its sensors", lambda: (governor() or {}).get("sensors"))
    changes = governor()["changes"]
    print(line(40.0, governor(), board.fan.read_text().strip()), flush=True)
    for celsius in WAVE:
        board.heat(celsius)

        def changed():
            now = governor()
            return now if now and now["changes"] > changes else None

        now = until(f"another plan at {celsius} C", changed)
        changes = now["changes"]
        percent = now["plan"].get("output.fan", {}).get("value", 0)
        wanted = str(percent * FULL_FAN // 100)
        until("the fan follows", lambda: board.fan.read_text().strip() == wanted)
        print(line(celsius, now, wanted), flush=True)
        time.sleep(hold_seconds)


def counts(board):
    """The counts of samples, once no one is on its way."""

    def settled():
        status = board.status()
        found = status and status["counters"]
        is_settled = found and found["in_flight"] == 0 and not board.waiting()
        return found if is_settled else None

    found = until("the last samples end", settled)
    names = ("accepted", "results", "skipped", "failed", "in_flight")
    dropped = sum(found["dropped"].values())
    return {name: found[name] for name in names} | {"dropped": dropped}, found["skipped_by"]


def main():
    parser = argparse.ArgumentParser(description="Play a heat wave on a real daemon.")
    parser.add_argument("--quick", action="store_true", help="with shorter times, for tests")
    quick = parser.parse_args().quick
    if not os.environ.get("HOTSHOE") or not all(path.exists() for path in NEEDED):
        set_up = ["cargo", "run", "--quiet", "-p", "hotshoe-devkit", "--example", "set-up"]
        subprocess.run(set_up, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        board = Board(folder, quick)
        board.install()
        daemon = board.start()
        is_over = threading.Event()
        feeder = threading.Thread(target=board.feed, args=[is_over])
        try:
            until("the daemon answers", board.status)
            feeder.start()
            play(board, 0.0 if quick else 3.0)
            is_over.set()
            feeder.join()
            ended, skipped_by = counts(board)
        finally:
            is_over.set()
            daemon.terminate()
            daemon.wait()
    print(json.dumps(ended | {"skipped_by": skipped_by}))
    accounted = sum(count for name, count in ended.items() if name != "accepted")
    return 0 if ended["accepted"] == accounted else 1


if __name__ == "__main__":
    sys.exit(main())
