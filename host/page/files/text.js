// Text from components, releases and devices is always a text node. What could hide or turn the text around it is shown by its number.

const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const LONGEST = 2000;

export function safe(value, longest = LONGEST) {
  const whole = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  const cut = whole.slice(0, longest);
  const shown = cut.replace(HIDDEN, (c) => `\u27e8U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
  return whole.length > longest ? `${shown}\u2026 (${whole.length.toLocaleString("en")} characters)` : shown;
}

// A text that cannot change the direction of its surroundings.
export function said(value, longest) {
  const node = document.createElement("bdi");
  node.textContent = safe(value, longest);
  return node;
}

// An element. `attributes` are the page's own; texts of others are children.
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

export function list(pairs) {
  return el("dl", {}, pairs.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => [
    el("dt", {}, name),
    el("dd", {}, Array.isArray(value) || value instanceof Node ? value : String(value)),
  ]));
}

export function number(value, digits = 1) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "\u2013";
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

export function ms(micros) {
  if (micros === null || micros === undefined) return "\u2013";
  if (micros < 1000) return `${number(micros, 0)} \u00b5s`;
  if (micros < 1e6) return `${number(micros / 1000, micros < 1e4 ? 2 : micros < 1e5 ? 1 : 0)} ms`;
  return `${number(micros / 1e6, micros < 1e7 ? 2 : 1)} s`;
}
