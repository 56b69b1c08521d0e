#!/usr/bin/env python3
"""Makes a wheel with the programs, the components of the demo and its application, so that `hotshoe demo` runs without a compiler.

    cargo build --profile dist --locked --package hotshoe --package hotshoe-demo --bins
    packaging/wheel.py [--programs target/dist] [--components target/guests] [--out target/wheels]

The wheel has no Python code: its programs go into the `bin` folder of the environment, their manual pages into `share/man`, and the rest
into `share/hotshoe`, where the programs look for it. It is the same, byte for byte, for the same files.
"""
import argparse
import base64
import hashlib
import pathlib
import re
import shlex
import struct
import sys
import tomllib
import zipfile

import manual

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAME = "hotshoe"
PROGRAMS = ["hotshoe", "hotshoe-demo"]
# What the demo packs and delivers; the tests' hostile components stay out.
COMPONENTS = ["read-page", "policy-label", "policy-legible", "flaky-policy"]
APPLICATION = ["release.toml", "rules.json", "expected/page.json"]
# ELF: e_machine.
MACHINES = {62: "x86_64", 183: "aarch64"}
SUMMARY = "Runs signed WebAssembly components and native models on edge devices, over Zenoh"
# The oldest moment that a zip can name, so that a wheel does not depend on when it was made.
MOMENT = (1980, 1, 1, 0, 0, 0)


def version():
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    return manifest["workspace"]["package"]["version"]


def platform(programs):
    """The tag of the oldest glibc that all programs run on (PEP 600)."""
    machines, oldest = set(), (2, 17)
    for program in programs:
        data = program.read_bytes()
        if data[:4] != b"\x7fELF":
            sys.exit(f"{program} is not a program for Linux")
        machines.add(struct.unpack_from("<H", data, 18)[0])
        for needed in set(re.findall(rb"GLIBC_(\d+)\.(\d+)\b", data)):
            oldest = max(oldest, tuple(int(part) for part in needed))
    if len(machines) != 1 or not machines <= MACHINES.keys():
        sys.exit(f"the programs are for the machines {sorted(machines)}, of which no wheel can be made")
    return f"manylinux_{oldest[0]}_{oldest[1]}_{MACHINES[machines.pop()]}"


def metadata():
    return f"""Metadata-Version: 2.4
Name: {NAME}
Version: {version()}
Summary: {SUMMARY}
License-Expression: Apache-2.0
License-File: LICENSE
Classifier: Operating System :: POSIX :: Linux
Description-Content-Type: text/markdown

{(ROOT / "README.md").read_text(encoding="utf-8")}"""


def contents(arguments, tag):
    """Each file as its name in the wheel, its bytes and whether it is a program."""
    info, data = f"{NAME}-{version()}.dist-info", f"{NAME}-{version()}.data"
    for program in PROGRAMS:
        yield f"{data}/scripts/{program}", (arguments.programs / program).read_bytes(), True
    for program in PROGRAMS:
        command = [*shlex.split(arguments.runner), str((arguments.programs / program).resolve())]
        yield f"{data}/data/share/man/man1/{program}.1", manual.page(command, program).encode(), False
    share = f"{data}/data/share/hotshoe"
    for component in COMPONENTS:
        yield f"{share}/components/{component}.wasm", (arguments.components / f"{component}.wasm").read_bytes(), False
    for file in APPLICATION:
        yield f"{share}/examples/label-reader/{file}", (ROOT / "examples/label-reader" / file).read_bytes(), False
    yield f"{info}/METADATA", metadata().encode(), False
    yield f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: hotshoe\nRoot-Is-Purelib: false\nTag: py3-none-{tag}\n".encode(), False
    yield f"{info}/licenses/LICENSE", (ROOT / "LICENSE").read_bytes(), False


def write(path, files):
    record, info = [], f"{NAME}-{version()}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:
        def add(name, data, is_program=False):
            entry = zipfile.ZipInfo(name, MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, so that the mode counts
            entry.external_attr = (0o100755 if is_program else 0o100644) << 16
            wheel.writestr(entry, data)

        for name, data, is_program in files:
            add(name, data, is_program)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(data)}")
        record.append(f"{info}/RECORD,,")
        add(f"{info}/RECORD", ("\n".join(record) + "\n").encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "target/dist", help="the folder of the programs")
    parser.add_argument("--components", type=pathlib.Path, default=ROOT / "target/guests", help="the folder of the components")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target/wheels", help="the folder of the wheel")
    parser.add_argument("--runner", default="", help="the command that runs programs for another machine, for their manual pages")
    arguments = parser.parse_args()
    missing = [it for it in (arguments.programs / name for name in PROGRAMS) if not it.is_file()]
    missing += [it for it in (arguments.components / f"{name}.wasm" for name in COMPONENTS) if not it.is_file()]
    if missing:
        sys.exit("missing: " + ", ".join(map(str, missing)) + "; see the first lines of this script")
    tag = platform([arguments.programs / name for name in PROGRAMS])
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{NAME}-{version()}-py3-none-{tag}.whl"
    write(path, contents(arguments, tag))
    print(f"{path}  {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
