// A chart of one series over time, as SVG: the median, the largest value, marks, and bands of the mode.

import { el, number, said } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 360;
const HEIGHT = 150;
const LEFT = 44;
const BOTTOM = 20;
const TOP = 8;
// How many colours page.css has for bands.
export const BAND_COLOURS = 4;

function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// The least round number at or above `most`.
export function roundUp(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  const factor = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((it) => it * power >= most * (1 - 1e-9)) ?? 10;
  return factor * power;
}

function time(seconds, span) {
  const date = new Date(seconds * 1000);
  const clock = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return span > 2 * 86400 ? `${date.toLocaleDateString([], { month: "short", day: "numeric" })} ${clock}` : clock;
}

// Lines are broken where the device was off. A single value is a dot.
function path(points, slot) {
  let last = null;
  return points.map(([at, x, y]) => {
    const command = last === null || at - last > slot * 1.5 ? "M" : "L";
    last = at;
    return `${command}${x.toFixed(1)},${y.toFixed(1)}${command === "M" ? "h0" : ""}`;
  }).join("");
}

// Enough digits to tell values apart.
function short(value) { return number(value, value >= 100 ? 0 : value >= 10 ? 1 : 2); }

function values(value, scale, unit) {
  return [short(value.median * scale), unit].filter((it) => it).join(" ") + `, most ${short(value.most * scale)}`;
}

// A line of the last values, without axes: what it shows is written beside it. `length` values fill the width.
export function spark(found, length) {
  const top = Math.max(...found, 0) || 1;
  const x = (place) => ((length - found.length + place) / (length - 1)) * 100;
  const points = found.map((value, place) => `${x(place).toFixed(1)},${(22 - (value / top) * 20).toFixed(1)}`);
  const picture = svg("svg", { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (points.length > 1) {
    picture.append(svg("polygon", { points: `${x(0).toFixed(1)},24 ${points.join(" ")} 100,24` }), svg("polyline", { points: points.join(" ") }));
  }
  return picture;
}

export function chart({ title, unit, history, series, most = null, scale = 1 }) {
  const index = history.series.indexOf(series);
  const known = history.records.filter((record) => index >= 0 && record.values[index]);
  if (!known.length) return null;
  const first = history.now - history.seconds;
  const largest = Math.max(...known.map((record) => record.values[index].most * scale));
  const least = Math.min(...known.map((record) => record.values[index].median * scale));
  const top = most ?? roundUp(largest);
  // Zero is in the picture, below it temperatures of a cold device.
  const bottom = least < 0 ? -roundUp(-least) : 0;
  const x = (at) => LEFT + ((at - first) / history.seconds) * (WIDTH - LEFT);
  const y = (value) => HEIGHT - BOTTOM - ((value * scale - bottom) / (top - bottom)) * (HEIGHT - BOTTOM - TOP);
  const middle = (record) => record.start + history.slot_s / 2;
  const points = (of) => known.map((record) => [record.start, x(middle(record)), y(of(record.values[index]))]);

  const last = known.at(-1).values[index];
  const summary = `last ${[short(last.median * scale), unit].filter((it) => it).join(" ")}, most ${short(largest)}`;
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${summary}` });
  const names = modes(history);
  bands(history).forEach(({ from, to, mode }) => {
    const band = svg("rect", { class: `band band-${names.indexOf(mode) % BAND_COLOURS}`, x: x(from), y: TOP, width: Math.max(0, x(to) - x(from)), height: HEIGHT - BOTTOM - TOP });
    const name = svg("title");
    name.textContent = mode;
    band.append(name);
    picture.append(band);
  });
  for (const part of [0, 0.5, 1]) {
    const value = bottom + part * (top - bottom);
    const line = y(value / scale);
    picture.append(svg("line", { class: "grid-line", x1: LEFT, x2: WIDTH, y1: line, y2: line }));
    picture.append(label(LEFT - 4, line + 4, number(value, 3), "end"));
  }
  for (const part of [0, 0.5, 1]) {
    const at = first + part * history.seconds;
    picture.append(label(x(at), HEIGHT - 5, time(at, history.seconds), ["start", "middle", "end"][part * 2]));
  }
  picture.append(svg("path", { class: "most", d: path(points((value) => value.most), history.slot_s) }));
  picture.append(svg("path", { class: "median", d: path(points((value) => value.median), history.slot_s) }));
  for (const mark of history.marks) {
    picture.append(svg("line", { class: isFault(mark.kind) ? "mark refused" : "mark", x1: x(mark.at), x2: x(mark.at), y1: TOP, y2: HEIGHT - BOTTOM }));
  }
  return figure({ title, unit, scale, known, index, middle, x, y, picture, history, summary });
}

function label(x, y, text, anchor) {
  const node = svg("text", { class: "axis", x, y, "text-anchor": anchor });
  node.textContent = text;
  return node;
}

export function isFault(kind) { return /refused|failed|rolled_back/.test(kind); }

// The modes in force, in the order of their first time.
export function modes(history) {
  return [...new Set(bands(history).map(({ mode }) => mode))];
}

// The times in which a mode was in force.
export function bands(history) {
  const found = [];
  for (const record of history.records) {
    const last = found.at(-1);
    const end = record.start + history.slot_s;
    if (last && last.mode === record.mode && record.start - last.to <= history.slot_s) last.to = end;
    else found.push({ from: record.start, to: end, mode: record.mode });
  }
  return found.filter((band) => band.mode !== "");
}

// The picture with its title, and values by pointer or arrow keys.
function figure({ title, unit, scale, known, index, middle, x, y, picture, history, summary }) {
  const output = el("output", {}, summary);
  const cursor = svg("line", { class: "cursor", x1: 0, x2: 0, y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  picture.append(cursor);
  let place = known.length - 1;
  const show = (next) => {
    place = Math.min(Math.max(next, 0), known.length - 1);
    const record = known[place];
    const value = record.values[index];
    cursor.setAttribute("x1", x(middle(record)));
    cursor.setAttribute("x2", x(middle(record)));
    cursor.setAttribute("visibility", "visible");
    const near = history.marks.filter((mark) => Math.abs(mark.at - middle(record)) <= history.slot_s);
    output.replaceChildren(`${time(record.start, history.seconds)}: ${values(value, scale, unit)}`);
    if (record.mode) output.append(", mode ", said(record.mode));
    for (const mark of near) output.append(", ", mark.kind.replaceAll("_", " "), " ", said(mark.label, 80));
  };
  picture.setAttribute("tabindex", "0");
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -known.length, End: known.length }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(place + step);
  });
  picture.addEventListener("focus", () => show(place));
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * WIDTH;
    const far = known.map((record) => Math.abs(x(middle(record)) - at));
    show(far.indexOf(Math.min(...far)));
  });
  const rest = () => {
    cursor.setAttribute("visibility", "hidden");
    output.replaceChildren(summary);
  };
  picture.addEventListener("pointerleave", rest);
  picture.addEventListener("blur", rest);
  return el("section", { class: "chart panel" }, el("h3", {}, title, unit ? el("small", {}, ` ${unit}`) : null), output, picture);
}
