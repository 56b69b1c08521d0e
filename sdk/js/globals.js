// What most JavaScript takes for granted and the engine lacks. For the file that `hotshoe build` writes.

import { decodeUtf8, encodeUtf8 } from "./utf8.js";

export function installGlobals(writeLine) {
  const line = (level) => (...values) => writeLine(level, values.map(show).join(" "));
  globalThis.console ??= { trace: line("trace"), debug: line("debug"), log: line("info"), info: line("info"), warn: line("warn"), error: line("error") };
  globalThis.TextDecoder ??= class TextDecoder {
    decode(bytes) {
      return decodeUtf8(bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : (bytes ?? []));
    }
  };
  globalThis.TextEncoder ??= class TextEncoder {
    encode(text = "") {
      return encodeUtf8(text);
    }
  };
}

function show(value) {
  if (typeof value !== "object" || value === null) return String(value);
  if (value instanceof Error) return value.stack ? `${value}\n${value.stack}` : String(value);
  try {
    return JSON.stringify(value);
  } catch {
    return String(value);
  }
}
