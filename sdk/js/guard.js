// Wraps the author's function: an exception becomes an error and not a trap, which would cost the instance. For the file that `hotshoe build` writes.

import { HotshoeError, valueOf } from "./errors.js";
import { begin } from "./globals.js";
import { misfit, wellFormed } from "./result.js";

// `result` is the type of what the function returns, as `result.js` reads it.
export function guarded(component, name, parameters, result = null) {
  const author = component[name];
  if (typeof author !== "function") {
    throw new Error(`the component exports no function \`${name}\`. Its world calls it for every sample; write \`export function ${name}(${parameters})\``);
  }
  if (Object.prototype.toString.call(author) === "[object AsyncFunction]") {
    throw new Error(`the component's \`${name}\` is async, and the host does not wait for a Promise; write it without \`async\``);
  }
  return (...args) => {
    begin();
    try {
      const value = author(...args);
      const found = misfit(value, result, `${name}()`);
      if (found) throw new HotshoeError(`the result has the wrong type: ${found}`);
      return value;
    } catch (error) {
      throw describe(error);
    } finally {
      // Releases the handles of the call before it ends; a component that kept one finds it disposed of.
      for (const arg of args) arg?.[Symbol.dispose]?.();
    }
  };
}

function describe(error) {
  const { code, message } = described(error);
  return { code, message: wellFormed(message) };
}

function described(error) {
  if (error instanceof HotshoeError) return { code: error.code, message: error.message };
  const value = valueOf(error);
  // The host's own errors are plain objects, those of `wasi:nn` handles with methods.
  if (typeof value?.code === "string") return { code: value.code, message: String(value.message) };
  if (typeof value?.code === "function" && typeof value.data === "function") {
    return { code: "internal", message: `wasi:nn: ${value.code()}: ${value.data()}` };
  }
  if (error instanceof Error) return { code: "internal", message: `${error.name}: ${error.message}${place(error)}` };
  return { code: "internal", message: String(error) };
}

// The author's innermost line on the stack, by the table that the build makes of lines.
function place(error) {
  const table = globalThis.hotshoeLines;
  for (const [, line] of (error.stack ?? "").matchAll(/bundle\.js:([0-9]+)/g)) {
    const found = table?.rows[Number(line) - 1];
    if (found) return ` (${table.files[found[0]]}:${found[1]})`;
  }
  return "";
}
