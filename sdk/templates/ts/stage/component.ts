// A whole pipeline in one component: it makes a model's input of a picture, runs the model through `wasi:nn`, and returns the classes with their scores.
//
// `wasi:nn` is WebAssembly's standard interface for models. Hotshoe's own interface, `hotshoe/infer`, does the same without a copy of the tensor.

import { codeOf, config, data, HotshoeError } from "hotshoe";
import type { Sample } from "hotshoe/samples";
import type { Class, Insight } from "hotshoe/types";
import { decode, normalise, resize, type Normalisation } from "hotshoe/vision";
import { loadByName } from "wasi:nn/graph";
import { Tensor } from "wasi:nn/tensor";

// The input of models from PaddlePaddle: blue first, from -1 to 1.
const BGR: Normalisation = { layout: "nchw", channels: "bgr", scale: 1 / 255, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };

/** Called for every sample. */
export function process(sample: Sample): Insight {
  const width = config.integer("width", 192, 1, 4096);
  const height = config.integer("height", 48, 1, 4096);
  // Pictures and tensors stay with the host; the component holds handles. `using` releases a handle at the end of its block.
  using picture = decode(sample);
  using small = resize(picture, width, height, "bilinear");
  using tensor = normalise([small], width, height, BGR);
  const scores = runModel(config.text("model", "classifier"), config.text("input", "x"), [1, 3, height, width], tensor.readBytes());
  return { tag: "classes", val: bestFirst(scores, labels()) };
}

/** The first output of a model of the release. An error of `wasi:nn` becomes an error of the sample, with its code and text. */
function runModel(name: string, inputName: string, shape: number[], elements: Uint8Array): Float32Array {
  using model = loadByName(name);
  using context = model.initExecutionContext();
  const outputs = context.compute([[inputName, new Tensor(shape, "FP32", elements)]]);
  const [first] = outputs;
  if (!first) throw new HotshoeError(`the model "${name}" has no output`);
  const bytes = first[1].data();
  for (const [, output] of outputs) output[Symbol.dispose]();
  // Each element has four bytes, little-endian, like WebAssembly itself.
  return new Float32Array(bytes.slice().buffer);
}

/** The names of the classes, one a line; an empty line means the class's number. No names if the release has no such file. */
function labels(): string[] {
  try {
    return data.lines("labels");
  } catch (error) {
    if (codeOf(error) === "not-found") return [];
    throw error;
  }
}

function bestFirst(scores: Float32Array, names: string[]): Class[] {
  const classes = Array.from(scores, (score, index): Class => ({ label: names[index] || String(index), index, score }));
  return classes.sort((a, b) => b.score - a.score || a.index - b.index);
}
