// A picture becomes the input of a model: decoded, scaled to the model's size, as numbers from 0 to 1.

import { config } from "hotshoe";
import { decode, normalise, resize } from "hotshoe/vision";

// 1 / 255 makes 0..255 to 0..1; then the mean is taken off and divided by the standard deviation, which changes nothing here.
/** @type {import("hotshoe/vision").Normalisation} */
const UNIT = { layout: "nchw", channels: "rgb", scale: 1 / 255, mean: [0, 0, 0], std: [1, 1, 1] };

/**
 * Called for every sample. Gives the model's inputs under the names that the model has for them.
 *
 * @param {import("hotshoe/samples").Sample} sample
 * @returns {import("hotshoe/tensors").NamedTensor[]}
 */
export function prepare(sample) {
  const width = config.integer("width", 32, 1, 4096);
  const height = config.integer("height", 32, 1, 4096);
  // Pictures and tensors stay with the host; what we hold are handles. `using` gives a handle back at the end of its block.
  using picture = decode(sample);
  using small = resize(picture, width, height, "bilinear");
  const tensor = normalise([small], width, height, UNIT);
  return [{ name: config.text("input", "x"), tensor }];
}
