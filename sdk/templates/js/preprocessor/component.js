// Makes a model's input of a picture: decodes it, scales it to the model's size, and gives numbers from 0 to 1.

import { config } from "hotshoe";
import { decode, normalise, resize } from "hotshoe/vision";

// The host multiplies 0..255 by 1 / 255, subtracts the mean and divides by the standard deviation. A mean of 0 and a deviation of 1 change nothing.
/** @type {import("hotshoe/vision").Normalisation} */
const UNIT = { layout: "nchw", channels: "rgb", scale: 1 / 255, mean: [0, 0, 0], std: [1, 1, 1] };

/**
 * Called for every sample. Returns the model's inputs, under their names in the model.
 *
 * @param {import("hotshoe/samples").Sample} sample
 * @returns {import("hotshoe/tensors").NamedTensor[]}
 */
export function prepare(sample) {
  const width = config.integer("width", 32, 1, 4096);
  const height = config.integer("height", 32, 1, 4096);
  // Pictures and tensors stay with the host; the component holds handles. `using` releases a handle at the end of its block.
  using picture = decode(sample);
  using small = resize(picture, width, height, "bilinear");
  const tensor = normalise([small], width, height, UNIT);
  return [{ name: config.text("input", "x"), tensor }];
}
