// A picture becomes the input of a model: decoded, scaled to the model's size, as numbers from 0 to 1.

import { config } from "hotshoe";
import type { Sample } from "hotshoe/samples";
import type { NamedTensor } from "hotshoe/tensors";
import { decode, normalise, resize, type Normalisation } from "hotshoe/vision";

// 1 / 255 makes 0..255 to 0..1; then the mean is taken off and divided by the standard deviation, which changes nothing here.
const UNIT: Normalisation = { layout: "nchw", channels: "rgb", scale: 1 / 255, mean: [0, 0, 0], std: [1, 1, 1] };

/** Called for every sample. Gives the model's inputs under the names that the model has for them. */
export function prepare(sample: Sample): NamedTensor[] {
  const width = config.integer("width", 32, 1, 4096);
  const height = config.integer("height", 32, 1, 4096);
  // Pictures and tensors stay with the host; what we hold are handles. `using` gives a handle back at the end of its block.
  using picture = decode(sample);
  using small = resize(picture, width, height, "bilinear");
  const tensor = normalise([small], width, height, UNIT);
  return [{ name: config.text("input", "x"), tensor }];
}
