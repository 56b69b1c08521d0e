#!/usr/bin/env python3
"""Makes stream.wav: speech by espeak-ng between silence and noise, 16 bits, one channel, 16 kHz.

    apt-get install espeak-ng
    python3 -m venv made && made/bin/pip install numpy==2.4.6
    made/bin/python examples/voice-activity/make_stream.py

The file is kept beside this script, so that the example needs no speech synthesiser, and all runs use the same sound. It was made with
Debian's espeak-ng 1.51+dfsg-10+deb12u2.
"""

import io
import subprocess
import wave
from pathlib import Path

import numpy as np

RATE = 16000
HERE = Path(__file__).resolve().parent
RANDOM = np.random.default_rng(1)


def speech(text: str, voice: str) -> np.ndarray:
    """espeak-ng's own 22,050 samples a second, made 16,000 by their spectrum."""
    made = subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "--stdout", text], check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(made), "rb") as file:
        rate = file.getframerate()
        # What it writes to a pipe states no length, so all that is there is read.
        sound = np.frombuffer(file.readframes(len(made)), "<i2").astype(np.float64) / 32768
    length = round(len(sound) * RATE / rate)
    spectrum = np.fft.rfft(sound)[: length // 2 + 1]
    return np.fft.irfft(spectrum, length) * (length / len(sound))


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE))


def noise(seconds: float, level: float) -> np.ndarray:
    return RANDOM.normal(0, level, round(seconds * RATE))


def tone(seconds: float) -> np.ndarray:
    return 0.1 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)


def main() -> None:
    parts = [
        silence(0.7),
        speech("The camera at the gate is ready.", "en-us"),
        silence(0.6),
        noise(1.0, 0.05),
        speech("Two boxes have left the belt, please look.", "en-gb"),
        noise(0.4, 0.02),
        tone(0.6),
        silence(0.4),
        speech("Yes.", "en-us")[: round(0.13 * RATE)],
        silence(0.6),
        speech("Stop the line.", "en-us+f3"),
        noise(0.9, 0.01),
    ]
    sound = np.concatenate(parts)
    with wave.open(str(HERE / "stream.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        file.writeframes(np.clip(np.round(sound * 32768), -32768, 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
