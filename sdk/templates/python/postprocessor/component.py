"""Makes boxes of the outputs of a centre-point detector such as CenterFace.

The model gives three maps, a quarter of the picture's size. For each point they have the probability that it is the centre of an object (heatmap), the object's
height and width (scale, as logarithms), and the position of its centre within the point (offset).
"""

import math
from dataclasses import dataclass

from hotshoe import NamedTensor, Sample, config, tensors
from hotshoe.types import Detection, Insight, Insight_Detections, Rect
from hotshoe.vision import decode

# Pixels of the model's picture for each point of its maps.
STRIDE = 4
# Maximum number of boxes that are compared with each other.
MAX_CANDIDATES = 1000


@dataclass
class Box:
    """Two corners, in pixels of the model's picture."""

    score: float
    x1: float
    y1: float
    x2: float
    y2: float

    def area(self) -> float:
        return (self.x2 - self.x1) * (self.y2 - self.y1)

    def overlap(self, other: "Box") -> float:
        """The common area as a share of both boxes together (IoU): 1 for the same box, 0 for boxes that do not touch."""
        width = max(0.0, min(self.x2, other.x2) - max(self.x1, other.x1))
        height = max(0.0, min(self.y2, other.y2) - max(self.y1, other.y1))
        common = width * height
        union = self.area() + other.area() - common
        return common / union if union > 0 else 0.0


def interpret(sample: Sample, outputs: list[NamedTensor]) -> Insight:
    """Called after the model, with the sample and the model's outputs."""
    min_score = config.number("min-score", 0.5)
    max_overlap = config.number("max-overlap", 0.3)
    (_, _, height, width), heat = floats(outputs, "heatmap", "537", (1, 1, None, None))
    _, scale = floats(outputs, "scale", "538", (1, 2, height, width))
    _, offset = floats(outputs, "offset", "539", (1, 2, height, width))

    boxes = candidates(height, width, heat, scale, offset, min_score)
    kept = suppress(boxes[:MAX_CANDIDATES], max_overlap)

    # From the model's picture to the sample's.
    with decode(sample) as picture:
        # Empty maps have no boxes, and would be a division by 0.
        fx = picture.width() / (STRIDE * max(width, 1))
        fy = picture.height() / (STRIDE * max(height, 1))
    label = config.text("label", "face")
    return Insight_Detections(
        [
            Detection(label, box.score, Rect(box.x1 * fx, box.y1 * fy, (box.x2 - box.x1) * fx, (box.y2 - box.y1) * fy), None)
            for box in kept
        ]
    )


def floats(outputs, setting, default, pattern):
    """Shape and elements of the output that a setting names."""
    return tensors.floats(tensors.named(outputs, config.text(setting, default)), pattern)


def candidates(height, width, heat, scale, offset, min_score) -> list[Box]:
    """A box for every point above `min_score`, the best first."""
    points = height * width
    found = [(-score, at) for at, score in enumerate(heat) if score > min_score]
    # Sorted by score, then by position.
    found.sort()
    boxes = []
    for negative, at in found:
        y, x = divmod(at, width)
        box_height = exp(scale[at]) * STRIDE
        box_width = exp(scale[points + at]) * STRIDE
        centre_y = (y + offset[at] + 0.5) * STRIDE
        centre_x = (x + offset[points + at] + 0.5) * STRIDE
        x1 = clamp(centre_x - box_width / 2, STRIDE * width)
        y1 = clamp(centre_y - box_height / 2, STRIDE * height)
        x2 = min(x1 + box_width, STRIDE * width)
        y2 = min(y1 + box_height, STRIDE * height)
        boxes.append(Box(-negative, x1, y1, x2, y2))
    return boxes


def suppress(boxes: list[Box], max_overlap: float) -> list[Box]:
    """Drops every box that overlaps a better one too much."""
    kept: list[Box] = []
    for box in boxes:
        if all(box.overlap(better) <= max_overlap for better in kept):
            kept.append(box)
    return kept


def clamp(value: float, highest: float) -> float:
    return min(max(value, 0.0), highest)


def exp(value: float) -> float:
    """As in other languages: a number that is too large is infinite, not an error."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
