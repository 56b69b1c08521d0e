#!/usr/bin/env python3
"""Records what rapidocr-onnxruntime reads in the four pictures, for our own results to be compared with.

    python3 -m venv reference
    reference/bin/pip install rapidocr-onnxruntime==1.4.4 'opencv-python-headless<5'
    reference/bin/pip uninstall --yes opencv-python
    reference/bin/pip install --force-reinstall --no-deps 'opencv-python-headless<5'
    reference/bin/python examples/label-reader/record_reference.py

The pictures must be in target/fixtures/pictures (`cargo demo` puts them there). Each result goes to
examples/label-reader/expected/NAME.json with the versions that made it.
"""

import argparse
import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
PICTURES = ["page.png", "text.png", "china.jpg", "flower.jpg"]
PACKAGES = ["rapidocr-onnxruntime", "onnxruntime", "opencv-python-headless", "opencv-python", "numpy", "pyclipper", "shapely", "pillow"]
REQUIRED = "1.4.4"


def installed_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def read_lines(engine, picture: bytes) -> list[dict]:
    result, _ = engine(picture)
    return [
        {
            "text": text,
            "score": round(float(score), 6),
            "outline": [[round(float(x), 3), round(float(y), 3)] for x, y in outline],
        }
        for outline, text, score in result or []
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, default=HERE.parents[1] / "target" / "fixtures" / "pictures")
    parser.add_argument("--out", type=Path, default=HERE / "expected")
    arguments = parser.parse_args()

    versions = installed_versions()
    if versions.get("rapidocr-onnxruntime") != REQUIRED:
        parser.error(f"install rapidocr-onnxruntime=={REQUIRED} (found {versions.get('rapidocr-onnxruntime', 'none')})")

    from rapidocr_onnxruntime import RapidOCR

    engine = RapidOCR()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        picture = (arguments.pictures / name).read_bytes()
        record = {
            "picture": name,
            "sha256": hashlib.sha256(picture).hexdigest(),
            "recorded_with": versions,
            # With this the record is an insight too, which a release can name as what a self-test expects.
            "kind": "text",
            "lines": read_lines(engine, picture),
        }
        out = arguments.out / f"{Path(name).stem}.json"
        out.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        print(f"{name}: {len(record['lines'])} lines -> {out}")


if __name__ == "__main__":
    main()
