import { get } from "hotshoe/config";
import { InvalidInput } from "./errors.js";

export { get };

export function text(name, fallback) {
  return get(name) ?? fallback;
}

export function integer(name, fallback, lowest, highest) {
  const value = get(name);
  if (value === null || value === undefined) return fallback;
  const result = /^[0-9]+$/.test(value) ? Number(value) : NaN;
  if (result >= lowest && result <= highest) return result;
  throw new InvalidInput(`the setting "${name}" is "${value}", no number from ${lowest} to ${highest}`);
}

export function number(name, fallback) {
  const value = get(name);
  if (value === null || value === undefined) return fallback;
  const result = value.trim() === "" ? NaN : Number(value);
  if (Number.isFinite(result)) return result;
  throw new InvalidInput(`the setting "${name}" is "${value}", no number`);
}
