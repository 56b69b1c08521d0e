#!/usr/bin/env python3
"""Starts a program for devices a few times, and prints the time until its daemon answers and its memory at rest.

    packaging/rest.py target/dist/hotshoe [CONFIG]

Without a configuration, the daemon is empty: it has no release. With one, it serves what is installed there.
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

STARTS = 5
DEADLINE_S = 60
REST_S = 10


def status(program, config):
    asked = subprocess.run([program, "status", "--config", config, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        answer = json.loads(asked.stdout)
    except ValueError:
        return None
    return answer if isinstance(answer, list) and answer else None


def memory(pid):
    """Resident memory in MB: all, and without pages of files, which the system may drop."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        lines = dict(line.split(":", 1) for line in file)
    kib = lambda key: int(lines[key].split()[0])
    return kib("VmRSS") * 1024 / 1e6, kib("RssAnon") * 1024 / 1e6


def configuration(folder):
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{folder}/a.key"], check=True)
    public = subprocess.run(["openssl", "ec", "-in", f"{folder}/a.key", "-pubout"], check=True, capture_output=True, text=True).stdout
    with open(f"{folder}/trust.toml", "w", encoding="utf-8") as file:
        file.write(f'threshold = 1\n[keys.a]\nscheme = "ecdsa-p256-sha256"\nreleases = ["*"]\npublic-key = """\n{public}"""\n')
    config = f"{folder}/hotshoe.toml"
    with open(config, "w", encoding="utf-8") as file:
        file.write('site = "rest"\ndevice = "rest"\n')
    return config


def main():
    program = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        config = sys.argv[2] if len(sys.argv) > 2 else configuration(folder)
        times = []
        for start in range(STARTS):
            began = time.monotonic()
            daemon = subprocess.Popen([program, "run", "--config", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                while status(program, config) is None:
                    if daemon.poll() is not None or time.monotonic() - began > DEADLINE_S:
                        sys.exit(f"the daemon did not answer: {daemon.poll()}")
                times.append(time.monotonic() - began)
                if start == STARTS - 1:
                    time.sleep(REST_S)
                    resident, private = memory(daemon.pid)
            finally:
                daemon.send_signal(signal.SIGTERM)
                daemon.wait()
    times.sort()
    print(f"until it answers  {times[0] * 1000:.0f} to {times[-1] * 1000:.0f} ms, median {times[len(times) // 2] * 1000:.0f} ms, of {STARTS} starts")
    print(f"memory at rest    {resident:.1f} MB resident, {private:.1f} MB without pages of files")


if __name__ == "__main__":
    main()
