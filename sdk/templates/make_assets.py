#!/usr/bin/env python3
"""Makes the assets that the templates share: pictures, tensors, a tiny model, and what is expected of them.

    python3 sdk/templates/make_assets.py            # writes them beside this file; needs numpy
    python3 sdk/templates/make_assets.py --check    # changes nothing, and fails if what is there differs from what it makes

The expected results are worked out here, in Python, by the rules of the four tasks alone. No component has a part in them.
The preprocessor's pixels come from the host, whose resizing counts in integers: they may differ by one step of 255.
"""

import argparse
import io
import json
import math
import pathlib
import struct
import sys
import zipfile
import zlib

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent / "common"


# --- Files --------------------------------------------------------------------------------------------------------------

def png(pixels):
    """An RGB picture, [height, width, 3] of u8, as PNG."""
    height, width, _ = pixels.shape

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def npz(arrays):
    """Named arrays as .npz, the same bytes at every call."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array))
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue())
    return out.getvalue()


def text(value):
    """A JSON value as the host writes one to a file."""
    return (json.dumps(value, indent=2) + "\n").encode()


def short(value):
    """The shortest decimal that is this f32 again, as the host prints it."""
    return float(str(np.float32(value)))


# --- Pictures -----------------------------------------------------------------------------------------------------------

def scene(width, height):
    """A picture with a slope of grey, a bright square, a dark disc and a coloured bar."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    picture = np.zeros((height, width, 3), np.float64)
    picture[..., 0] = 40 + 120 * x / width
    picture[..., 1] = 60 + 100 * y / height
    picture[..., 2] = 90
    square = (abs(x - width * 0.3) < height * 0.2) & (abs(y - height * 0.4) < height * 0.2)
    picture[square] = (240, 230, 200)
    disc = (x - width * 0.7) ** 2 + (y - height * 0.55) ** 2 < (height * 0.25) ** 2
    picture[disc] = (20, 30, 45)
    picture[int(height * 0.85) :, :, 2] = 220
    return picture.round().astype(np.uint8)


def resized(pixels, width, height):
    """Bilinear, pixel centres at half-integers, edges repeated."""
    def axis(new, old):
        at = (np.arange(new) + 0.5) * old / new - 0.5
        low = np.floor(at).astype(int)
        share = at - low
        return np.clip(low, 0, old - 1), np.clip(low + 1, 0, old - 1), share

    y0, y1, fy = axis(height, pixels.shape[0])
    x0, x1, fx = axis(width, pixels.shape[1])
    source = pixels.astype(np.float64)
    fy, fx = fy[:, None, None], fx[None, :, None]
    upper = source[y0][:, x0] * (1 - fx) + source[y0][:, x1] * fx
    lower = source[y1][:, x0] * (1 - fx) + source[y1][:, x1] * fx
    return np.floor(upper * (1 - fy) + lower * fy + 0.5).clip(0, 255)


# --- preprocessor -------------------------------------------------------------------------------------------------------

def preprocessor():
    picture = scene(96, 64)
    tensor = resized(picture, 32, 32).transpose(2, 0, 1)[None] * np.float64(np.float32(1 / 255))
    return {
        "tests/picture.png": png(picture),
        "tests/expected.npz": npz({"x": tensor.astype(np.float32)}),
    }


# --- postprocessor ------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 32, 24
PICTURE = (200, 90)


def heads():
    """Three objects, each as a hill of scores, and one that is too faint. Values are rounded so that they pack well."""
    heat = np.zeros((HEIGHT, WIDTH))
    scale = np.zeros((2, HEIGHT, WIDTH))
    offset = np.zeros((2, HEIGHT, WIDTH))
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    for row, column, peak, tall, wide in [
        (6, 7, 0.9375, 6.0, 5.0),
        (14, 20, 0.875, 9.0, 7.0),
        (15, 27, 0.75, 4.0, 9.5),
        (20, 4, 0.4375, 5.0, 5.0),
    ]:
        far = np.hypot(y - row, x - column)
        hill = np.round(peak * np.exp(-((far / 1.6) ** 2)) * 64) / 64
        better = hill > heat
        heat = np.where(better, hill, heat)
        scale[:, better] = np.array([math.log(tall), math.log(wide)])[:, None]
        offset[0][better] = ((row - y) * 0.25)[better]
        offset[1][better] = ((column - x) * 0.25)[better]
    shaped = lambda array: array.reshape(1, -1, HEIGHT, WIDTH).astype(np.float32)
    return shaped(heat), shaped(scale), shaped(offset)


def overlap(a, b):
    area = lambda box: (box[3] - box[1]) * (box[4] - box[2])
    wide = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    tall = max(min(a[4], b[4]) - max(a[2], b[2]), 0.0)
    union = area(a) + area(b) - wide * tall
    return wide * tall / union if union > 0 else 0.0


def detections(heat, scale, offset, picture, min_score=0.5, max_overlap=0.3):
    """Centres to boxes, and the best of those that overlap: the postprocessor's task, cell by cell."""
    heat, scale, offset = (array.astype(np.float64)[0] for array in (heat, scale, offset))
    height, width = heat.shape[1:]
    found = []
    for y in range(height):
        for x in range(width):
            score = float(heat[0, y, x])
            if not score > min_score:
                continue
            tall = math.exp(scale[0, y, x]) * 4
            wide = math.exp(scale[1, y, x]) * 4
            cy = (y + float(offset[0, y, x]) + 0.5) * 4
            cx = (x + float(offset[1, y, x]) + 0.5) * 4
            x1 = min(max(cx - wide / 2, 0.0), 4.0 * width)
            y1 = min(max(cy - tall / 2, 0.0), 4.0 * height)
            found.append((score, x1, y1, min(x1 + wide, 4.0 * width), min(y1 + tall, 4.0 * height)))
    found.sort(key=lambda box: -box[0])  # the sort is stable
    kept = []
    for box in found[:1000]:
        if all(overlap(box, better) <= max_overlap for better in kept):
            kept.append(box)
    fx, fy = picture[0] / (4 * width), picture[1] / (4 * height)
    return [
        {
            "label": "face",
            "score": short(score),
            "bounds": {
                "x": short(x1 * fx),
                "y": short(y1 * fy),
                "width": short((x2 - x1) * fx),
                "height": short((y2 - y1) * fy),
            },
        }
        for score, x1, y1, x2, y2 in kept
    ]


def postprocessor():
    heat, scale, offset = heads()
    picture = np.frombuffer(png(scene(*PICTURE)), np.uint8)
    kind = np.frombuffer(b"image/png", np.uint8)
    arrays = {"537": heat, "538": scale, "539": offset, "sample": picture, "content-type": kind}
    found = detections(heat, scale, offset, PICTURE)
    assert len(found) == 3, found
    return {
        "tests/outputs.npz": npz(arrays),
        "tests/expected.json": text({"kind": "detections", "detections": found}),
    }


# --- policy -------------------------------------------------------------------------------------------------------------

RULES = """\
# LABEL MIN-SCORE ACTION [MESSAGE]
#
# LABEL    the label of a class or detection; * matches any
# ACTION   publish, drop, info, warning or critical
# MESSAGE  {count} becomes the number of matches

*       0.3   publish
face    0.8   info       {count} in sight
weapon  0.6   critical   {count} found, call security
cat     0.5   drop       cats are not counted
"""


def policy():
    box = lambda x: {"x": x, "y": 8.0, "width": 24.0, "height": 32.0}
    found = [("face", 0.9375), ("face", 0.875), ("cat", 0.5), ("face", 0.75)]
    insight = {
        "kind": "detections",
        "detections": [
            {"label": label, "score": score, "bounds": box(10.0 + 40.0 * index)}
            for index, (label, score) in enumerate(found)
        ],
    }
    actions = [
        {"action": "publish"},
        {"action": "alert", "severity": "info", "message": "2 in sight"},
        {"action": "drop", "reason": "cats are not counted"},
    ]
    return {
        "rules.txt": RULES.encode(),
        "tests/insight.json": text(insight),
        "tests/expected.json": text({"insight": insight, "actions": actions}),
    }


# --- stage --------------------------------------------------------------------------------------------------------------

# Of a picture's mean over the channels, from -1 to 1: the logits of `dark` and `bright`.
SLOPE = 4.0
LABELS = ["dark", "bright"]


def field(number, kind, payload):
    """One field of a protocol buffer: a varint (0) or bytes (2)."""
    def varint(value):
        out = b""
        while value > 127:
            out += bytes([value & 127 | 128])
            value >>= 7
        return out + bytes([value])

    head = varint(number << 3 | kind)
    return head + (varint(payload) if kind == 0 else varint(len(payload)) + payload)


def classifier():
    """An ONNX model: mean of each channel, one matrix, softmax. The numbers of its fields are those of onnx.proto3."""
    def value_info(name, shape):
        dims = b"".join(field(1, 2, field(1, 0, length)) for length in shape)
        tensor = field(1, 0, 1) + field(2, 2, dims)  # 1 is FLOAT
        return field(1, 2, name.encode()) + field(2, 2, field(1, 2, tensor))

    def constant(name, array):
        dims = b"".join(field(1, 0, length) for length in array.shape)
        data = array.astype("<f4").tobytes()
        return dims + field(2, 0, 1) + field(8, 2, name.encode()) + field(9, 2, data)

    def node(kind, inputs, output, axis=None):
        message = b"".join(field(1, 2, name.encode()) for name in inputs)
        message += field(2, 2, output.encode()) + field(4, 2, kind.encode())
        if axis is not None:
            attribute = field(1, 2, b"axis") + field(3, 0, axis) + field(20, 0, 2)  # 2 is INT
            message += field(5, 2, attribute)
        return message

    weights = np.array([[-SLOPE / 3, SLOPE / 3]] * 3)
    graph = b"".join(
        field(1, 2, it)
        for it in [
            node("GlobalAveragePool", ["x"], "means"),
            node("Flatten", ["means"], "flat", axis=1),
            node("Gemm", ["flat", "weights", "bias"], "logits"),
            node("Softmax", ["logits"], "scores", axis=1),
        ]
    )
    graph += field(2, 2, b"brightness")
    graph += field(5, 2, constant("weights", weights)) + field(5, 2, constant("bias", np.zeros(2)))
    graph += field(11, 2, value_info("x", [1, 3, 48, 192])) + field(12, 2, value_info("scores", [1, 2]))
    opset = field(1, 2, b"") + field(2, 0, 13)
    return field(1, 0, 8) + field(2, 2, b"make_assets.py") + field(7, 2, graph) + field(8, 2, opset)


def stage():
    picture = scene(240, 60)
    tensor = resized(picture, 192, 48) / 255 * 2 - 1
    logit = SLOPE * tensor.mean()
    scores = {"dark": 1 / (1 + math.exp(2 * logit)), "bright": 1 / (1 + math.exp(-2 * logit))}
    best_first = sorted(LABELS, key=lambda label: -scores[label])
    classes = [
        {"label": label, "index": LABELS.index(label), "score": short(scores[label])}
        for label in best_first
    ]
    return {
        "classifier.onnx": classifier(),
        "labels.txt": ("\n".join(LABELS) + "\n").encode(),
        "tests/picture.png": png(picture),
        "tests/expected.json": text({"kind": "classes", "classes": classes}),
    }


# ------------------------------------------------------------------------------------------------------------------------

MOST_BYTES = 20_000


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="change nothing, fail on a difference")
    check = arguments.parse_args().check
    different = 0
    for make in (preprocessor, postprocessor, policy, stage):
        for name, contents in make().items():
            assert len(contents) <= MOST_BYTES, f"{name} has {len(contents)} bytes"
            path = HERE / make.__name__ / name
            if check:
                same = path.exists() and path.read_bytes() == contents
                different += not same
                print("same     " if same else "DIFFERENT", path)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(contents)
                print(f"{len(contents):6}", path)
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
