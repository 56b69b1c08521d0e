"""Reads one picture with rapidocr-onnxruntime on a number of threads: a JSON line when ready, then one for each line on standard input."""

import json
import sys
import time

try:
    from importlib.metadata import version

    from rapidocr_onnxruntime import RapidOCR
except ImportError as error:
    print(json.dumps({"missing": str(error)}), flush=True)
    sys.exit(0)

threads = int(sys.argv[2])
try:
    import cv2

    cv2.setNumThreads(threads)
except ImportError:
    pass

with open(sys.argv[1], "rb") as file:
    picture = file.read()
engine = RapidOCR(intra_op_num_threads=threads, inter_op_num_threads=1)
engine(picture)
print(json.dumps({"version": version("rapidocr-onnxruntime")}), flush=True)
for _ in sys.stdin:
    started = time.perf_counter()
    lines, _ = engine(picture)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "lines": len(lines or [])}), flush=True)
