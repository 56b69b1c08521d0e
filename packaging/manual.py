#!/usr/bin/env python3
"""Writes the manual page of a program from its own `help`, with every command that this program has.

    packaging/manual.py [--runner "qemu-aarch64 -L /usr/aarch64-linux-gnu"] PROGRAM OUTPUT

A program without a command `help` gives a page of its `--help` alone.
"""
import argparse
import pathlib
import re
import shlex
import subprocess
import sys

# A line of a list of commands.
COMMAND = re.compile(r"^  ([a-z][a-z-]*)(?: |$)")
# The headings that are not above commands: a program with many of them lists them by topic.
OTHERS = re.compile("Usage|Options|Arguments|Examples?|Exit codes?")


def said(program, *words):
    """What a program prints; `None` where it does not know the words."""
    done = subprocess.run([*program, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout if done.returncode == 0 else None


def escaped(line):
    """A line as text of a page: no letter of it is a request."""
    line = line.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return "\\&" + line if line.startswith((".", "'")) else line


def parts(text):
    """The text before the first heading, then each heading with its lines."""
    heading, lines = "", []
    for line in text.splitlines():
        found = re.match(r"^([A-Z][a-z ]+):(?: (.*))?$", line)
        if found:
            yield heading, lines
            heading, lines = found[1], [found[2]] if found[2] else []
        else:
            lines.append(line)
    yield heading, lines


def block(text):
    """A help as lines of a page: paragraphs are filled, and lists are as they are."""
    for heading, lines in parts(text):
        shown = "\n".join(lines).strip("\n")
        if not heading:
            for paragraph in shown.split("\n\n"):
                yield ".PP"
                yield from (escaped(line.strip()) for line in paragraph.splitlines())
        elif shown:
            yield ".PP"
            yield f".B {escaped(heading)}"
            yield ".PP"
            yield ".nf"
            yield from (escaped(line.rstrip()) for line in shown.splitlines())
            yield ".fi"


def commands(program, path, text):
    """Each command below `path`, with its help; a command before those below it."""
    # The program itself may list them by topic.
    is_list = lambda heading: heading == "Commands" or not path and heading and not OTHERS.fullmatch(heading)
    listed = [line for heading, lines in parts(text) if is_list(heading) for line in lines]
    done = {"help", program[-1].rpartition("/")[2]}
    for name in (found[1] for found in map(COMMAND.match, listed) if found):
        if name in done:
            continue
        done.add(name)
        # Not `--help`: some commands are programs of their own, which may not be there.
        help_text = said(program, "help", *path, name)
        if help_text is None:
            sys.exit(f"`help {' '.join([*path, name])}` does not succeed")
        yield [*path, name], help_text
        yield from commands(program, [*path, name], help_text)


def page(program, name):
    """The page of a program, which is a command with its runner."""
    return "\n".join(lines(program, name)) + "\n"


def lines(program, name):
    version = said(program, "--version").splitlines()[0].split()[-1]
    text = said(program, "help") or said(program, "--help")
    summary = text.split("\n", 1)[0].rstrip(".")
    yield f'.TH "{name.upper()}" "1" "" "{name} {version}" "User Commands"'
    # Left-aligned, without hyphens in words.
    yield from (".ad l", ".nh")
    yield from (".SH NAME", f"{escaped(name)} \\- {escaped(summary)}", ".SH DESCRIPTION")
    yield from block(text)
    for path, help_text in commands(program, [], text):
        yield f'.SH "{escaped(" ".join([name, *path]).upper())}"'
        yield from block(help_text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runner", default="", help="the command that runs a program for another machine")
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    arguments = parser.parse_args()
    program = [*shlex.split(arguments.runner), str(arguments.program.resolve())]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(page(program, arguments.program.name), encoding="utf-8")


if __name__ == "__main__":
    main()
