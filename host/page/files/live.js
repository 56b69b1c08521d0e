// The pipeline as it runs, the queue, and the last outputs with their pictures.

import { alerts } from "./alerts.js";
import { el, list, ms, number, safe, said } from "./text.js";
import { blob } from "./stream.js";

const SHOWN = 6;
const PICTURES = 8;
const SVG = "http://www.w3.org/2000/svg";

export function live() {
  const pictures = new Map();
  let outputs = [];
  let waiting = 0;
  let missed = 0;
  // What the device left out: when this page was opened, and now.
  let leftOut = null;
  let paused = false;
  let before = null;
  let rates = new Map();
  let steps = [];

  const pause = el("button", { type: "button", "aria-pressed": "false", onclick: () => {
    paused = !paused;
    waiting = 0;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Continue" : "Pause";
    renderOutputs();
  } }, "Pause");
  const summary = el("div", { class: "panel" });
  const pipeline = el("ol", { class: "pipeline" });
  const models = el("div", { class: "grid" });
  const note = el("span", { class: "muted" });
  const shown = el("div", { class: "grid" });
  const events = el("ol", { class: "plain panel" });
  const active = alerts();
  const root = el("div", {}, active.root,
    el("h2", {}, "Pipeline"), pipeline,
    el("h2", {}, "Device"), summary,
    el("h2", {}, "Models"), models,
    el("div", { class: "row" }, el("h2", {}, "Last outputs"), pause, note), shown,
    el("h2", {}, "Events"), events);

  function status({ status: now, left_out }) {
    measure(now);
    leftOut = [leftOut?.[0] ?? left_out, left_out];
    active.render(now.alerts);
    renderPipeline(now);
    renderSummary(now);
    renderModels(now);
    renderEvents(now);
  }

  // Rates are between two statuses, by the device's uptime.
  function measure(now) {
    const counts = new Map(now.stages.map((stage) => [stage.name, stage.count]));
    counts.set("results", now.counters.results);
    const at = performance.now();
    if (before && at - before.at > 200) {
      const seconds = (at - before.at) / 1000;
      rates = new Map([...counts].map(([name, count]) => [name, Math.max(0, count - (before.counts.get(name) ?? count)) / seconds]));
    }
    before = { at, counts };
  }

  function renderPipeline(now) {
    const stages = new Map(now.stages.map((stage) => [stage.name, stage]));
    const boxes = [{ kind: "sample", name: null }, { kind: "queue", name: "queue" }, ...steps, { kind: "result", name: "total" }];
    pipeline.replaceChildren(...boxes.map(({ kind, name }) => {
      const stage = stages.get(name);
      const failed = now.counters.failed_at[name];
      const component = now.components.find((it) => it.name === name);
      const facts = kind === "sample"
        ? [["accepted", number(now.counters.accepted, 0)], ["in flight", number(now.counters.in_flight, 0)]]
        : [
          ["rate", rates.has(name) ? `${number(rates.get(name))}/s` : null],
          ["p50", stage ? ms(stage.p50_us) : null],
          ["p95", stage ? ms(stage.p95_us) : null],
          ["waiting", kind === "queue" ? `${now.queue.len} of ${now.queue.capacity}` : null],
          ["failed", failed ? el("span", { class: "bad" }, String(failed)) : null],
          ["paused", component?.backing_off ? said(component.backing_off.fault, 80) : null],
        ];
      return el("li", { class: "panel" }, el("h3", {}, kind), name && kind !== "queue" && kind !== "result" ? said(name, 80) : null, list(facts));
    }));
  }

  function renderSummary(now) {
    const dropped = Object.values(now.counters.dropped).reduce((sum, count) => sum + count, 0);
    const sensors = now.governor?.sensors ?? {};
    summary.replaceChildren(list([
      ["release", now.release ? said(`${now.release.name} ${now.release.generation}`, 120) : "none"],
      ["signed by", now.release ? said(now.release.signers.join(", "), 200) : null],
      ["deployment", said(now.deploy.phase + (now.deploy.cause ? `: ${now.deploy.cause.message}` : ""), 300)],
      ["results", number(now.counters.results, 0)],
      ["failed, dropped, skipped", [now.counters.failed, dropped, now.counters.skipped].map((it) => number(it, 0)).join(", ")],
      ["mode", now.governor?.mode ? said(now.governor.mode, 80) : null],
      ["temperature", sensors.hottest_celsius == null ? null : `${number(sensors.hottest_celsius)} \u00b0C`],
      ["battery", sensors.charge_ratio == null ? null : `${number(sensors.charge_ratio * 100, 0)} %`],
      ["power", sensors.watts == null ? null : `${number(sensors.watts)} W`],
      ["memory", now.memory?.resident_mib == null ? null : `${number(now.memory.resident_mib, 0)} MiB`],
      ["peers", number(now.session.peers, 0)],
      ["uptime", `${number(now.uptime_s, 0)} s`],
      ["kept on the device", Object.keys(now.kept_back ?? {}).length ? said(now.kept_back, 300) : null],
    ]));
  }

  function renderModels(now) {
    models.replaceChildren(...now.models.map((model) => el("section", { class: "panel" },
      el("h3", {}, said(model.name, 80)),
      list([
        ["backend", said(`${model.backend}, ${model.provider}`, 80)],
        ["variant", said(model.variant, 80)],
        ["why", said(model.reason, 300)],
        ["runs, failed", `${number(model.runs, 0)}, ${number(model.failed, 0)}`],
        ...model.fallbacks.map((it) => ["not used", said(`${it.variant}: ${it.cause}`, 300)]),
      ]))));
  }

  function renderEvents(now) {
    const last = (now.events ?? []).slice(-12).reverse();
    events.replaceChildren(...last.map((event) => el("li", {},
      el("span", { class: { error: "bad", warning: "warning" }[event.severity] ?? "muted" }, `${new Date(event.time).toLocaleTimeString()} `),
      said(String(event.kind).replaceAll("_", " "), 80), " ",
      said([event.subject.name, event.subject.generation, event.subject.path].filter((it) => it !== undefined).join(" "), 200),
      event.cause ? [": ", said(event.cause.message, 300)] : null)));
  }

  function output(kind, value) {
    if (kind === "missed") missed += value;
    else if (kind === "picture") return picture(value);
    else if (paused) waiting += 1;
    else outputs = [{ kind, value }, ...outputs].slice(0, SHOWN);
    renderOutputs();
  }

  async function picture({ id, number: place }) {
    if (paused) return;
    const bytes = await blob(`api/picture/${place}`);
    if (!bytes) return;
    pictures.set(id, URL.createObjectURL(bytes));
    while (pictures.size > PICTURES) {
      const [oldest, url] = pictures.entries().next().value;
      URL.revokeObjectURL(url);
      pictures.delete(oldest);
    }
    if (!paused) renderOutputs();
  }

  function renderOutputs() {
    const texts = [];
    if (paused) texts.push(`${waiting} since the pause`);
    const hidden = missed + (leftOut ? Math.max(0, leftOut[1] - leftOut[0]) : 0);
    if (hidden) texts.push(`${hidden} not shown`);
    note.textContent = texts.join(", ");
    shown.replaceChildren(...(outputs.length ? outputs.map(card) : [el("p", { class: "muted" }, "Nothing has left the device since this page was opened.")]));
  }

  function card({ kind, value }) {
    const url = pictures.get(value.id);
    return el("article", { class: "panel" },
      el("h3", {}, kind, " ", said(value.id, 60)),
      el("p", { class: "muted" }, said(value.source ?? "", 120)),
      url ? framed(url, value.insight) : null,
      value.too_large_bytes ? el("p", {}, `Too large to show: ${number(value.too_large_bytes, 0)} bytes`) : content(kind, value));
  }

  function setSteps(next) { steps = next; }
  renderOutputs();
  return { root, status, output, setSteps };
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
  if (kind === "action") return text(value.action);
  if (kind === "failure") return el("p", { class: "bad" }, said(`${value.stage}: ${value.fault}: ${value.message}`, 600));
  const insight = value.insight ?? {};
  const rows = insight.classes?.map?.((it) => [it.label, score(it.score)])
    ?? insight.detections?.map?.((it) => [it.label, score(it.score)])
    ?? insight.lines?.map?.((it) => [it.text, score(it.score)])
    ?? insight.scalars?.map?.((it) => [it.name, `${number(it.value, 3)} ${it.unit ?? ""}`]);
  if (!rows) return text(insight);
  const first = rows.slice(0, 20);
  return el("div", { class: "scroll" },
    el("table", {}, el("tbody", {}, first.map(([name, figure]) => el("tr", {}, el("td", {}, said(name ?? "", 500)), el("td", {}, said(figure, 60)))))),
    rows.length > first.length ? el("p", { class: "muted" }, `and ${rows.length - first.length} more`) : null);
}

function score(value) {
  return typeof value === "number" ? `${number(value * 100)} %` : "";
}

function text(value) {
  return el("p", { class: "text", dir: "auto" }, safe(value));
}
