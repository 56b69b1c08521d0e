// The history of the device over an hour, a day or a month.

import { el, said } from "./text.js";
import { get, inTurn } from "./stream.js";
import { BAND_COLOURS, chart, isFault, modes } from "./chart.js";

const CHARTS = [
  { title: "Rate", unit: "results/s", series: "rate_hz" },
  { title: "Latency, p95", unit: "ms", series: "latency_p95_ms" },
  { title: "Latency, p50", unit: "ms", series: "latency_p50_ms" },
  { title: "Failed", unit: "samples/s", series: "failed_hz" },
  { title: "Queue", unit: "samples", series: "queue" },
  { title: "Temperature", unit: "\u00b0C", series: "hottest_celsius" },
  { title: "Battery", unit: "%", series: "charge_ratio", scale: 100, most: 100 },
  { title: "Power", unit: "W", series: "watts" },
  { title: "Memory of the daemon", unit: "MiB", series: "resident_mib" },
  { title: "Free memory", unit: "MiB", series: "memory_available_mib" },
  { title: "Load", unit: "tasks", series: "load" },
  { title: "Drift", unit: "", series: "drift" },
];
const SPANS = ["hour", "day", "month"];

export function history() {
  let span = "hour";
  let loaded = 0;
  const buttons = SPANS.map((name) => el("button", { type: "button", "aria-pressed": String(name === span), onclick: () => choose(name) }, `One ${name}`));
  const charts = el("div", { class: "grid" });
  const key = el("ul", { class: "key" });
  const marks = el("ol", { class: "plain panel" });
  const root = el("div", {},
    el("div", { class: "row heading" }, el("h2", {}, "History"), el("div", { class: "choice", role: "group", "aria-label": "Time" }, buttons)),
    key, charts, el("h2", {}, "Changes of releases and modes"), marks);

  function choose(name) {
    span = name;
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(SPANS[place] === name)));
    load();
  }

  const load = inTurn(async () => {
    loaded = performance.now();
    let answer;
    try {
      answer = await get(`api/history?span=${span}`);
    } catch (error) {
      charts.replaceChildren(el("p", { class: "bad" }, said(error.message, 300)));
      return;
    }
    // A chart that is being read stays.
    if (charts.contains(document.activeElement)) return;
    const drawn = CHARTS.map((it) => chart({ ...it, history: answer })).filter((it) => it);
    charts.replaceChildren(...(drawn.length ? drawn : [el("p", { class: "empty" }, "Nothing is recorded yet: the first record comes after 15 seconds.")]));
    key.replaceChildren(...(drawn.length ? legend(answer) : []));
    marks.replaceChildren(...answer.marks.slice(-50).reverse().map((mark) => el("li", {},
      el("time", { datetime: new Date(mark.at * 1000).toISOString() }, new Date(mark.at * 1000).toLocaleString()),
      el("div", {}, el("strong", { class: isFault(mark.kind) ? "bad" : "" }, mark.kind.replaceAll("_", " ")), " ", said(mark.label, 200)))));
    if (!answer.marks.length) marks.replaceChildren(el("li", { class: "muted" }, "None in this time."));
  });

  // A status arrives each second; a new record every 15 s.
  function status() {
    if (performance.now() - loaded > 15000) load();
  }

  return { root, load, status };
}

function legend(answer) {
  const entry = (kind, ...text) => el("li", {}, el("span", { class: `swatch ${kind}` }), ...text);
  return [
    entry("median", "median"), entry("most", "largest"), entry("mark", "swap"), entry("mark refused", "rolled back or refused"),
    ...modes(answer).map((mode, place) => entry(`band-${place % BAND_COLOURS}`, "mode ", said(mode, 40))),
    el("li", { class: "muted" }, "Arrow keys read a chart."),
  ];
}
