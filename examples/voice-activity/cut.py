#!/usr/bin/env python3
"""Cuts a recording into the blocks that this example takes, one WAV file each.

    python3 examples/voice-activity/cut.py examples/voice-activity/stream.wav target/voice-activity/blocks

A block has 576 samples, the last 64 of the block before (zeros at first) and 512 new ones. What does not fill one at the end is filled with zeros.
"""

import argparse
import wave
from pathlib import Path

CONTEXT, WINDOW, WIDTH = 64, 512, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", type=Path, help="a WAV file of one channel of 16 bits, 16,000 times a second")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()

    with wave.open(str(arguments.recording), "rb") as file:
        kind = (file.getnchannels(), file.getsampwidth(), file.getframerate())
        if kind != (1, WIDTH, 16000):
            parser.error(f"{arguments.recording} has (channels, bytes, rate) {kind}; it must be (1, 2, 16000)")
        sound = file.readframes(file.getnframes())
    sound += bytes(-len(sound) % (WINDOW * WIDTH))
    padded = bytes(CONTEXT * WIDTH) + sound
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for old in arguments.folder.glob("*.wav"):
        old.unlink()
    for number, start in enumerate(range(0, len(sound), WINDOW * WIDTH)):
        with wave.open(str(arguments.folder / f"{number:04}.wav"), "wb") as block:
            block.setparams((1, WIDTH, 16000, 0, "NONE", "not compressed"))
            block.writeframes(padded[start : start + (CONTEXT + WINDOW) * WIDTH])


if __name__ == "__main__":
    main()
