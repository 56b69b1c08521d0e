#!/usr/bin/env python3
"""Records what silero-vad finds under ONNX Runtime's own Python package, for our own results to be compared with.

    python3 -m venv reference
    reference/bin/pip install onnxruntime==1.31.1 numpy packaging
    reference/bin/pip install --no-deps silero-vad==6.2.3
    apt-get download pocketsphinx-testdata && dpkg -x pocketsphinx-testdata_*.deb speech
    reference/bin/python examples/voice-activity/record_reference.py speech/usr/share/pocketsphinx/test/data/goforward.raw

The model must be in target/fixtures/models (the tests put it there). It writes expected/goforward.json, the probability of speech
in each block of the recording, vowel.wav and expected/vowel.json, one block of a vowel that it makes itself, and expected/stream.json, the segments of speech in
stream.wav (see make_stream.py). The segments are what the package's own function `get_speech_timestamps_from_probs`, unchanged and with its defaults, makes of the
probabilities; `get_speech_timestamps` is that function after a loop over the blocks. It is plain Python, so that an empty module stands in for PyTorch, which the
package loads for its other functions and which is a gigabyte.

The recording is "go forward ten meters", one channel of 16 bits at 16 kHz, from Debian's package pocketsphinx-testdata
(Copyright 1995-2014 Carnegie Mellon University, BSD-2). It is not copied here.
"""

import argparse
import hashlib
import json
import platform
import sys
import types
import wave
from importlib.metadata import distribution, version
from math import cos, exp, floor, pi
from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
RATE = 16000
WINDOW = 512
CONTEXT = 64
FULL_SCALE = 32768


def find_speech(session, recording: np.ndarray) -> list[float]:
    """Block by block, as the package silero-vad 6.2.3 does: each with the 64 samples before it, the state from the block before."""
    state = np.zeros((2, 1, 128), np.float32)
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), recording.astype(np.float32) / FULL_SCALE])
    found = []
    for start in range(0, len(padded) - CONTEXT - WINDOW + 1, WINDOW):
        block = padded[start : start + CONTEXT + WINDOW][None]
        inputs = {"input": block, "state": state, "sr": np.array(RATE, np.int64)}
        probability, state = session.run(["output", "stateN"], inputs)
        found.append(round(float(probability[0, 0]), 6))
    return found


def segments(speech: list[float], length: int) -> list[dict]:
    torch = types.ModuleType("torch")
    torch.Tensor = object
    torch.no_grad = lambda: lambda function: function
    torch.device = str
    sys.modules.setdefault("torch", torch)
    # The package's own __init__ loads more than this one file of it.
    package = types.ModuleType("silero_vad")
    package.__path__ = [str(Path(str(distribution("silero-vad").locate_file("silero_vad"))))]
    sys.modules["silero_vad"] = package
    from silero_vad.utils_vad import get_speech_timestamps_from_probs

    return get_speech_timestamps_from_probs(speech, audio_length_samples=length)


def vowel(length: int) -> np.ndarray:
    """Pulses at 120 Hz through resonances at 700, 1200 and 2600 Hz: an "a"."""
    sound = [1.0 if floor(120 * (at + 1) / RATE) > floor(120 * at / RATE) else 0.0 for at in range(length)]
    for frequency, bandwidth in [(700, 90), (1200, 110), (2600, 170)]:
        radius = exp(-pi * bandwidth / RATE)
        first, second = 2 * radius * cos(2 * pi * frequency / RATE), -radius * radius
        before, earlier = 0.0, 0.0
        for at, pulse in enumerate(sound):
            sound[at] = pulse + first * before + second * earlier
            before, earlier = sound[at], before
    loudest = max(abs(value) for value in sound)
    return np.array([round(FULL_SCALE / 2 * value / loudest) for value in sound], np.int16)


def write(path: Path, record: dict) -> None:
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", type=Path)
    parser.add_argument("--model", type=Path, default=HERE.parents[1] / "target/fixtures/models/silero-vad.onnx")
    arguments = parser.parse_args()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    recorded_with = {
        "python": platform.python_version(),
        "onnxruntime": version("onnxruntime"),
        "numpy": version("numpy"),
        "model_sha256": hashlib.sha256(arguments.model.read_bytes()).hexdigest(),
    }

    recording = arguments.recording.read_bytes()
    write(
        HERE / "expected" / "goforward.json",
        {
            "recording": arguments.recording.name,
            "sha256": hashlib.sha256(recording).hexdigest(),
            "recorded_with": recorded_with,
            "speech": find_speech(session, np.frombuffer(recording, "<i2")),
        },
    )

    file = HERE / "stream.wav"
    with wave.open(str(file), "rb") as stream:
        sound = np.frombuffer(stream.readframes(stream.getnframes()), "<i2")
    padded = np.concatenate([sound, np.zeros(-len(sound) % WINDOW, np.int16)])
    speech = find_speech(session, padded)
    write(
        HERE / "expected" / "stream.json",
        {
            "recording": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "recorded_with": recorded_with | {"silero-vad": version("silero-vad")},
            "segments": segments(speech, len(sound)),
            "speech": speech,
        },
    )

    made = vowel(WINDOW)
    block = np.concatenate([np.zeros(CONTEXT, np.int16), made])
    with wave.open(str(HERE / "vowel.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(block.astype("<i2").tobytes())
    [speech] = find_speech(session, made)
    # With its kind the record is an insight too, which the release names as what its self-test expects.
    scalars = [{"name": "speech", "value": speech, "unit": ""}]
    write(HERE / "expected" / "vowel.json", {"recorded_with": recorded_with, "kind": "scalars", "scalars": scalars})


if __name__ == "__main__":
    main()
