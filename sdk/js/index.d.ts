// Write components for Hotshoe in JavaScript or TypeScript.
//
// A component is a file component.js or component.ts that exports the one function of its world:
//
//   preprocessor    prepare(sample: Sample): NamedTensor[]
//   postprocessor   interpret(sample: Sample, outputs: NamedTensor[]): Insight
//   policy          decide(insight: Insight, device: DeviceContext): Action[]
//   stage           process(sample: Sample): Insight
//
// An exception costs only the sample: the host gets its text, and the same instance serves the next sample.
// The host's own interfaces are the modules hotshoe/vision, hotshoe/infer, hotshoe/types and so on, as in the WIT files of the project's folder wit/.

import type { NamedTensor, Tensor } from "hotshoe/tensors";

/** A defect of the component or the model. The text is one sentence for a person. */
export class HotshoeError extends Error {
  readonly code: string;
}
/** The sample or a setting is malformed. */
export class InvalidInput extends HotshoeError {}
/** Well-formed, but not supported. */
export class Unsupported extends HotshoeError {}
/** There is nothing with that name. */
export class NotFound extends HotshoeError {}
/** The release or the device does not grant it. */
export class Denied extends HotshoeError {}
/** A limit was reached; the text names it with its unit. */
export class LimitExceeded extends HotshoeError {}

/** The code of a caught error, of the host or of this module: `not-found`, `invalid-input`, ... */
export function codeOf(error: unknown): string;

/** The tensor of this name among a model's outputs. */
export function named(outputs: NamedTensor[], name: string): Tensor;
/** Shape and elements of an f32 tensor, copied once. In `pattern`, null means any length: `[1, 3, null, null]`. */
export function floats(tensor: Tensor, pattern?: (number | null)[]): { shape: number[]; elements: Float32Array };
/** An f32 tensor of numbers. */
export function fromFloats(shape: number[], values: ArrayLike<number>): Tensor;

/** The component's settings, `config = { width = "32" }` in release.toml. They need the grant `config`. */
export namespace config {
  function get(name: string): string | null;
  /** The text of a setting. */
  function text(name: string, fallback: string): string;
  /** A whole number from `lowest` to `highest`. */
  function integer(name: string, fallback: number, lowest: number, highest: number): number;
  /** Any number. */
  function number(name: string, fallback: number): number;
}

/** The component's data files, `data = ["rules"]` in release.toml. They need the grant `data`. */
export namespace data {
  function read(name: string): Uint8Array;
  /** A whole file as UTF-8. */
  function text(name: string): string;
  /** The lines of a file, without their ends. */
  function lines(name: string): string[];
}

/** Lines in the device's log. They need the grant `log`. `console.log` writes there too, with that grant. */
export namespace log {
  /** Details for debugging every step. */
  function trace(message: unknown): void;
  /** For the component's author. */
  function debug(message: unknown): void;
  /** What the operator may want to know. */
  function info(message: unknown): void;
  /** What the operator should look at. */
  function warn(message: unknown): void;
  /** What went wrong. */
  function error(message: unknown): void;
}

/** Values that the component keeps between samples, restarts and releases. They need the grant `state`. */
export namespace state {
  function get(key: string): Uint8Array | null;
  function set(key: string, value: Uint8Array): void;
  function replace(key: string, expected: Uint8Array | null, value: Uint8Array | null): boolean;
  function keys(): string[];
  function version(): number;
  /** Deletes a key. */
  function remove(key: string): void;
  /** Replaces a value by the result of `change`, which gets the current value (null: no entry). Calls it again if another instance wrote in between. */
  function update(key: string, change: (present: Uint8Array | null) => Uint8Array | null): Uint8Array | null;
}
