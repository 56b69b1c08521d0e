import { Tensor } from "hotshoe/tensors";
import { InvalidInput } from "./errors.js";

export function named(outputs, name) {
  const found = outputs.find((output) => output.name === name);
  if (!found) {
    const there = outputs.map((output) => output.name).join(", ") || "none";
    throw new InvalidInput(`no tensor is called "${name}"; there are: ${there}`);
  }
  return found.tensor;
}

export function floats(tensor, pattern) {
  const type = tensor.elementType();
  if (type !== "f32") throw new InvalidInput(`a tensor has elements of ${type}, not of f32`);
  const shape = Array.from(tensor.shape());
  if (pattern && !fits(shape, pattern)) {
    const wanted = pattern.map((length) => length ?? "any").join(", ");
    throw new InvalidInput(`a tensor of the shape [${shape.join(", ")}] does not fit [${wanted}]`);
  }
  return { shape, elements: floatsOf(tensor.readBytes()) };
}

export function fromFloats(shape, values) {
  const elements = Float32Array.from(values);
  return Tensor.fromBytes("f32", shape, new Uint8Array(elements.buffer));
}

// WebAssembly is little-endian, and so are the elements of tensors.
function floatsOf(bytes) {
  const whole = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Float32Array(whole.buffer, whole.byteOffset, Math.floor(whole.byteLength / 4));
}

function fits(shape, pattern) {
  return shape.length === pattern.length && pattern.every((wanted, at) => wanted === null || wanted === shape[at]);
}
