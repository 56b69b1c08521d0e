// Write components for Hotshoe in JavaScript or TypeScript; index.d.ts has the documentation.
// Each part is its own module, so that a component imports only the host interfaces that it uses.

export { codeOf, Denied, HotshoeError, InvalidInput, LimitExceeded, NotFound, Unsupported } from "./errors.js";
export { floats, fromFloats, named } from "./tensors.js";
export * as config from "./config.js";
export * as data from "./data.js";
export * as log from "./log.js";
export * as state from "./state.js";
