// The last samples that something left the device for: insights with their pictures, actions and failures.

import { el, list, number, safe, said } from "./text.js";
import { derived } from "./figure.js";
import { blob } from "./stream.js";

const SHOWN = 6;
const ENTRIES = 8;
const WAITING = 4;
const FIELDS = 20;
const SVG = "http://www.w3.org/2000/svg";

export function outputs() {
  // Pictures by id whose insight has not come.
  const waiting = new Map();
  let last = [];
  let missed = 0;
  // What the device left out: when this page was opened, and now.
  let leftOutBefore = null;
  let leftOutNow = 0;
  const note = el("span", { class: "muted" });
  const heading = el("div", { class: "row heading" }, el("h2", {}, "Last outputs"), note);
  const root = el("div", { class: "grid outputs" });

  function add(kind, value) {
    if (kind === "picture") return picture(value);
    if (kind === "missed") missed += value;
    else place(kind, value);
    render();
  }

  // Outputs of one sample share a card; another insight begins another one, also where a source uses an id again.
  function place(kind, value) {
    const same = last.find((it) => it.id === value.id);
    const isRoot = kind !== "action";
    if (same && same.entries.length < ENTRIES && !(isRoot && same.entries.some((it) => it.kind !== "action"))) {
      same.entries = isRoot ? [{ kind, value }, ...same.entries] : [...same.entries, { kind, value }];
      same.node = card(same);
    } else {
      const sample = { id: value.id, source: value.source, picture: waiting.get(value.id), entries: [{ kind, value }] };
      waiting.delete(value.id);
      sample.node = card(sample);
      last = [sample, ...last];
      for (const { picture } of last.splice(SHOWN)) forget(picture);
    }
  }

  // A picture comes before the outputs of its sample, which may come while it is fetched. A card that was there before is of another sample with
  // this id.
  async function picture({ id, number }) {
    const newest = () => last.find((it) => it.id === id);
    const before = newest();
    const bytes = await blob(`api/picture/${number}`);
    if (!bytes) return;
    const url = URL.createObjectURL(bytes);
    const sample = newest();
    if (sample && sample !== before) {
      forget(sample.picture);
      sample.picture = url;
      // Only its own card is drawn again: the others would flicker.
      sample.node = card(sample);
      render();
      return;
    }
    forget(waiting.get(id));
    waiting.delete(id);
    waiting.set(id, url);
    const [oldest] = waiting.keys();
    if (waiting.size > WAITING) {
      forget(waiting.get(oldest));
      waiting.delete(oldest);
    }
  }

  function leftOut(count) {
    leftOutBefore ??= count;
    leftOutNow = count;
    say();
  }

  function say() {
    const hidden = missed + Math.max(0, leftOutNow - (leftOutBefore ?? 0));
    note.replaceChildren(...(hidden ? [derived(`${number(hidden, 0)} more were not shown`)] : []));
  }

  function render() {
    say();
    const empty = el("p", { class: "empty" }, "Nothing has left the device since this page was opened.");
    root.replaceChildren(...(last.length ? last.map(({ node }) => node) : [empty]));
  }

  render();
  return { root, heading, add, leftOut, skipped: (count) => { missed += count; say(); } };
}

// Frees the memory of a picture.
function forget(url) { if (url) URL.revokeObjectURL(url); }

function card({ id, source, picture, entries }) {
  return el("article", { class: "panel" },
    el("h3", { class: "row title" }, source ? [said(source, 120), el("small", {}, said(id, 60))] : said(id, 60)),
    entries.map(({ kind, value }) => el("section", { class: kind },
      kind === "insight" && picture ? framed(picture, value.insight) : null,
      el("span", { class: "kind" }, kind),
      value.too_large_bytes ? el("p", {}, `Too large to show: ${number(value.too_large_bytes, 0)} bytes`) : content(kind, value))));
}

// A picture with what was found drawn over it.
function framed(url, insight) {
  const image = el("img", { src: url, alt: "The sample, with its masks" });
  const frame = el("div", { class: "picture" }, image);
  image.addEventListener("load", () => {
    const over = document.createElementNS(SVG, "svg");
    over.setAttribute("viewBox", `0 0 ${image.naturalWidth} ${image.naturalHeight}`);
    over.setAttribute("aria-hidden", "true");
    for (const corners of outlines(insight)) {
      const polygon = document.createElementNS(SVG, "polygon");
      polygon.setAttribute("points", corners.map(([x, y]) => `${Number(x)},${Number(y)}`).join(" "));
      over.append(polygon);
    }
    frame.append(over);
  }, { once: true });
  return frame;
}

// The corners of what an insight found, in pixels of the picture.
export function outlines(insight) {
  const found = insight?.detections ?? insight?.lines ?? [];
  if (!Array.isArray(found)) return [];
  return found.slice(0, 200).map(({ outline, bounds }) => {
    if (Array.isArray(outline)) return outline.filter((it) => Array.isArray(it) && it.length === 2);
    if (!bounds) return [];
    const { x, y, width, height } = bounds;
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height]];
  }).filter((corners) => corners.length >= 3);
}

function content(kind, value) {
  if (kind === "action") return fields(value.action);
  if (kind === "failure") return el("p", { class: "bad" }, said(`${value.stage}: ${value.fault}: ${value.message}`, 600));
  const insight = value.insight ?? {};
  const rows = insight.classes?.map?.((it) => [it.label, score(it.score)])
    ?? insight.detections?.map?.((it) => [it.label, score(it.score)])
    ?? insight.lines?.map?.((it) => [it.text, score(it.score)])
    ?? insight.scalars?.map?.((it) => [it.name, `${number(it.value, 3)} ${it.unit ?? ""}`]);
  if (!rows) return fields(insight);
  if (!rows.length) return el("p", { class: "muted" }, "Nothing was found.");
  const first = rows.slice(0, FIELDS);
  return el("div", { class: "scroll" },
    el("table", {}, el("tbody", {}, first.map(([name, figure]) => el("tr", {}, el("td", {}, said(name ?? "", 500)), el("td", { class: "figure" }, said(figure, 60)))))),
    rows.length > first.length ? el("p", { class: "muted" }, `and ${rows.length - first.length} more`) : null);
}

function score(value) {
  return typeof value === "number" ? `${number(value * 100)}\u00a0%` : "";
}

// An object of others, a line for each field; anything else as its text.
function fields(value) {
  const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
  if (!isObject) return el("p", { class: "text", dir: "auto" }, safe(value));
  const found = Object.entries(value).slice(0, FIELDS);
  return list(found.map(([name, it]) => [said(name, 80), said(it)]));
}
