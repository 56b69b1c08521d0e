// Globals that most JavaScript expects and the engine lacks or implements differently. For the file that `hotshoe build` writes.

import { wellFormed } from "./result.js";
import { decodeUtf8, encodeUtf8 } from "./utf8.js";

// Whether the host has called. Code that runs earlier runs during the build.
let begun = false;

export function begin() {
  begun = true;
}

// `clock` has the functions `now` and `monotonic`: the host's, the engine's with WASI, or undefined.
export function installGlobals(writeLine, clock) {
  const line = (level) => (...values) => writeLine(level, wellFormed(values.map(show).join(" ")));
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
  if (clock) installRandom(clock);
  refuseTimeZones();
}

// The engine seeds its generator during the build, so all instances would give the same numbers.
function installRandom(clock) {
  const fixed = Math.random;
  let next;
  Math.random = () => {
    if (!begun) return fixed();
    next ??= generator(clock.now(), clock.monotonic());
    return next();
  };
}

// `sfc32` (PractRand's small fast counting generator), as fractions of 32 bits.
function generator(...seeds) {
  let [a, b, c, counter] = [0x9e3779b9, 0x243f6a88, 0xb7e15162, 1];
  const next = () => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 4294967296;
  };
  for (const seed of seeds.map(Number)) {
    a ^= Math.floor(seed);
    b ^= Math.floor(seed / 4294967296);
    c ^= Math.floor((seed % 1) * 4294967296);
    for (let round = 0; round < 12; round++) next();
  }
  return next;
}

// The engine only has UTC, and would ignore the option silently.
function refuseTimeZones() {
  for (const name of ["toLocaleString", "toLocaleDateString", "toLocaleTimeString"]) {
    const engine = Date.prototype[name];
    Date.prototype[name] = function (locales, options) {
      const zone = options?.timeZone;
      if (zone !== undefined && !/^(UTC|GMT|Etc\/(UTC|GMT))$/i.test(zone)) {
        throw new RangeError(`${name}: a component has no time zone but UTC, so it cannot use "${zone}"`);
      }
      return engine.call(this, locales, options);
    };
  }
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
