// Write components for Hotshoe in JavaScript or TypeScript; what each thing is for stands in index.d.ts.
// The parts are modules of their own, so that a component imports of the host what it uses and nothing else.

export { codeOf, Denied, HotshoeError, InvalidInput, LimitExceeded, NotFound, Unsupported } from "./errors.js";
export { floats, fromFloats, named } from "./tensors.js";
export * as config from "./config.js";
export * as data from "./data.js";
export * as log from "./log.js";
export * as state from "./state.js";
