#!/usr/bin/env python3
"""Records what the angle classifier says under ONNX Runtime's own Python package, for our own results to be compared with.

    python3 -m venv reference
    reference/bin/pip install onnxruntime==1.31.1 numpy==2.4.6 opencv-python-headless==5.0.0.93
    reference/bin/python examples/wasi-nn-classic/record_reference.py

It draws upright.ppm and turned.ppm (a line of text and the same upside down), and cuts two pieces of 192 x 48 pixels out of scikit-image's page.png, which is not
copied here. The model and the page must be in target/fixtures (the tests put them there); the model is the angle classifier of PyPI's rapidocr-onnxruntime 1.4.4.
"""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parents[1] / "target/fixtures"
WIDTH, HEIGHT = 192, 48
LABELS = ["0", "180"]
# Top left corners in page.png; a piece is turned by 180 degrees where it says so.
PIECES = {"page-top": (10, 8, False), "page-turned": (120, 60, True)}


def classify(session: onnxruntime.InferenceSession, rgb: np.ndarray) -> list[dict]:
    pixels = rgb[:, :, ::-1].astype(np.float32).transpose(2, 0, 1)[None]
    [scores] = session.run(None, {"x": (pixels / np.float32(255) - np.float32(0.5)) / np.float32(0.5)})
    best_first = sorted(enumerate(scores[0].tolist()), key=lambda found: -found[1])
    return [{"label": LABELS[index], "index": index, "score": round(score, 6)} for index, score in best_first]


def main() -> None:
    model = FIXTURES / "models/classify-angle.onnx"
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    recorded_with = {"python": platform.python_version()}
    recorded_with |= {name: version(name) for name in ["onnxruntime", "numpy", "opencv-python-headless"]}
    recorded_with["model_sha256"] = hashlib.sha256(model.read_bytes()).hexdigest()

    drawn = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    cv2.putText(drawn, "Hotshoe 5", (6, 36), cv2.FONT_HERSHEY_SIMPLEX, 1.1, (20, 20, 20), 2, cv2.LINE_AA)
    pictures = {"upright": drawn, "turned": drawn[::-1, ::-1]}
    for name, picture in pictures.items():
        (HERE / f"{name}.ppm").write_bytes(b"P6\n%d %d\n255\n" % (WIDTH, HEIGHT) + picture.tobytes())
    page = cv2.cvtColor(cv2.imread(str(FIXTURES / "pictures/page.png")), cv2.COLOR_BGR2RGB)
    places = {}
    for name, (x, y, turned) in PIECES.items():
        piece = page[y : y + HEIGHT, x : x + WIDTH]
        pictures[name] = piece[::-1, ::-1] if turned else piece
        places[name] = {"of": "page.png", "x": x, "y": y, "turned": turned}

    for name, picture in pictures.items():
        record = {"recorded_with": recorded_with} | places.get(name, {})
        # With its kind the record is an insight too, which the release names as what its self-test expects.
        record |= {"kind": "classes", "classes": classify(session, picture)}
        path = HERE / "expected" / f"{name}.json"
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        print(path, record["classes"][0])


if __name__ == "__main__":
    main()
