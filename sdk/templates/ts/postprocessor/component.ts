// Makes boxes of the outputs of a centre-point detector such as CenterFace.
//
// The model gives three maps, a quarter of the picture's size. For each point they have the probability that it is the centre of an object (heatmap), the object's
// height and width (scale, as logarithms), and the position of its centre within the point (offset).

import { config, floats, named } from "hotshoe";
import type { Sample } from "hotshoe/samples";
import type { NamedTensor } from "hotshoe/tensors";
import type { Detection, Insight } from "hotshoe/types";
import { decode } from "hotshoe/vision";

// Pixels of the model's picture for each point of its maps.
const STRIDE = 4;
// Maximum number of boxes that are compared with each other.
const MAX_CANDIDATES = 1000;

/** Two corners, in pixels of the model's picture. */
interface Box {
  score: number;
  x1: number;
  y1: number;
  x2: number;
  y2: number;
}

/** What the model gives, point by point. */
interface Maps {
  height: number;
  width: number;
  heat: Float32Array;
  scale: Float32Array;
  offset: Float32Array;
}

/** Called after the model, with the sample and the model's outputs. */
export function interpret(sample: Sample, outputs: NamedTensor[]): Insight {
  const minScore = config.number("min-score", 0.5);
  const maxOverlap = config.number("max-overlap", 0.3);
  const maps = readMaps(outputs);
  const kept = suppress(candidates(maps, minScore).slice(0, MAX_CANDIDATES), maxOverlap);

  // From the model's picture to the sample's.
  using picture = decode(sample);
  const fx = picture.width() / (STRIDE * maps.width);
  const fy = picture.height() / (STRIDE * maps.height);
  const label = config.text("label", "face");
  const detections = kept.map(
    ({ score, x1, y1, x2, y2 }): Detection => ({
      label,
      score,
      bounds: { x: x1 * fx, y: y1 * fy, width: (x2 - x1) * fx, height: (y2 - y1) * fy },
    }),
  );
  return { tag: "detections", val: detections };
}

function readMaps(outputs: NamedTensor[]): Maps {
  const output = (setting: string, fallback: string) => named(outputs, config.text(setting, fallback));
  const heatmap = floats(output("heatmap", "537"), [1, 1, null, null]);
  const [, , height = 0, width = 0] = heatmap.shape;
  const scale = floats(output("scale", "538"), [1, 2, height, width]).elements;
  const offset = floats(output("offset", "539"), [1, 2, height, width]).elements;
  return { height, width, heat: heatmap.elements, scale, offset };
}

/** A box for every point above `minScore`, best first. */
function candidates({ height, width, heat, scale, offset }: Maps, minScore: number): Box[] {
  const points = height * width;
  const found: number[] = [];
  heat.forEach((score, at) => {
    if (score > minScore) found.push(at);
  });
  // By score, then by position.
  found.sort((a, b) => heat[b]! - heat[a]! || a - b);
  return found.map((at) => {
    const y = Math.floor(at / width);
    const x = at % width;
    const boxHeight = Math.exp(scale[at]!) * STRIDE;
    const boxWidth = Math.exp(scale[points + at]!) * STRIDE;
    const centreY = (y + offset[at]! + 0.5) * STRIDE;
    const centreX = (x + offset[points + at]! + 0.5) * STRIDE;
    const x1 = clamp(centreX - boxWidth / 2, STRIDE * width);
    const y1 = clamp(centreY - boxHeight / 2, STRIDE * height);
    return { score: heat[at]!, x1, y1, x2: Math.min(x1 + boxWidth, STRIDE * width), y2: Math.min(y1 + boxHeight, STRIDE * height) };
  });
}

/** Drops every box that overlaps a better one too much. */
function suppress(boxes: Box[], maxOverlap: number): Box[] {
  const kept: Box[] = [];
  for (const box of boxes) {
    if (kept.every((better) => overlap(box, better) <= maxOverlap)) kept.push(box);
  }
  return kept;
}

/** The common area as a share of both boxes together (IoU): 1 for the same box, 0 for boxes that do not touch. */
function overlap(a: Box, b: Box): number {
  const width = Math.max(0, Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1));
  const height = Math.max(0, Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1));
  const common = width * height;
  const union = area(a) + area(b) - common;
  return union > 0 ? common / union : 0;
}

function area({ x1, y1, x2, y2 }: Box): number {
  return (x2 - x1) * (y2 - y1);
}

function clamp(value: number, highest: number): number {
  return Math.min(Math.max(value, 0), highest);
}
