// Numbers of the status. Each names the place of its value, as a JSON pointer, so that a test can compare it with the status itself.

import { el, ms, number } from "./text.js";

// The value at a JSON pointer; undefined where there is none.
export function at(status, pointer) {
  let value = status;
  for (const part of pointer.split("/").slice(1)) value = value?.[part.replaceAll("~1", "/").replaceAll("~0", "~")];
  return value;
}

export function key(name) {
  return String(name).replaceAll("~", "~0").replaceAll("/", "~1");
}

function figure(status, pointer, text) {
  const value = at(status, pointer);
  if (typeof value !== "number") return null;
  return el("data", { value: String(value), "data-status": pointer }, text(value));
}

export function count(status, pointer) {
  return figure(status, pointer, (value) => number(value, 0));
}

export function duration(status, pointer) {
  return figure(status, pointer, ms);
}

// `scale` and `unit` turn what the status has into what people read.
export function measured(status, pointer, unit, { scale = 1, digits = 0 } = {}) {
  return figure(status, pointer, (value) => `${number(value * scale, digits)} ${unit}`);
}

// A figure of this page, not of the status: a rate between two statuses.
export function derived(text) {
  return el("span", { "data-derived": "" }, text);
}
