// What the device does now: its figures, the pipeline as it runs, the last outputs, models and events.

import { alerts } from "./alerts.js";
import { el, list, said } from "./text.js";
import { at, count, key, measured } from "./figure.js";
import { tiles } from "./tiles.js";
import { pipeline } from "./pipeline.js";
import { outputs } from "./outputs.js";

const EVENTS = 12;
const RATE_OVER = 10;

export function live() {
  const figures = tiles();
  const stages = pipeline();
  const shown = outputs();
  const summary = el("div", { class: "panel" });
  const models = el("div", { class: "grid" });
  const events = el("ol", { class: "plain panel" });
  const active = alerts();
  const root = el("div", {}, active.root,
    figures.root,
    el("h2", {}, "Pipeline"), stages.root,
    shown.heading, shown.root,
    el("h2", {}, "Models"), models,
    el("div", { class: "columns" },
      el("section", {}, el("h2", {}, "Device"), summary),
      el("section", {}, el("h2", {}, "Events"), events)));
  let before = [];
  let rates = new Map();

  function status({ status: now, left_out }) {
    measure(now);
    active.render(now);
    figures.render(now, rates);
    stages.render(now, rates);
    shown.leftOut(left_out);
    summary.replaceChildren(about(now));
    models.replaceChildren(...(now.models.length ? now.models.map((model, place) => card(now, model, place)) : [el("p", { class: "empty" }, "The release has no model.")]));
    const last = (now.events ?? []).slice(-EVENTS).reverse();
    events.replaceChildren(...(last.length ? last.map(entry) : [el("li", { class: "muted" }, "No event since the start.")]));
  }

  // Rates are over the last ten statuses, by the clock of this page: over one of them, a slow pipeline seems to stop and start.
  function measure(now) {
    const counts = new Map(now.stages.map((stage) => [stage.name, stage.count]));
    counts.set("results", now.counters.results);
    before = [...before, { time: performance.now(), counts }].slice(-RATE_OVER);
    const seconds = (before.at(-1).time - before[0].time) / 1000;
    if (seconds > 0.9) {
      rates = new Map([...counts].map(([name, count]) => [name, Math.max(0, count - (before[0].counts.get(name) ?? 0)) / seconds]));
    }
  }

  return { root, status, output: shown.add, skipped: shown.skipped, setSteps: stages.setSteps };
}

function about(now) {
  const { release, deploy, governor } = now;
  return list([
    ["release", release ? [said(release.name, 120), " ", count(now, "/release/generation")] : "none"],
    ["signed by", release ? said(release.signers.join(", "), 200) : null],
    ["deployment", said(deploy.phase + (deploy.cause ? `: ${deploy.cause.message}` : ""), 300)],
    ["swaps", count(now, "/swaps")],
    ["rollbacks", count(now, "/rollbacks")],
    ["mode", governor?.mode ? said(governor.mode, 80) : null],
    ["power", measured(now, "/governor/sensors/watts", "W", { digits: 1 })],
    ["workers", count(now, "/workers")],
    ["peers", count(now, "/session/peers")],
    ["version", said(now.version, 40)],
    ["kept on the device", kept(now)],
  ]);
}

// What the data contract kept back, by class and output.
function kept(now) {
  const found = Object.entries(now.kept_back ?? {}).flatMap(([name, byOutput]) =>
    Object.keys(byOutput).map((output) => el("span", { class: "item" }, said(`${output}, ${name}: `, 80), count(now, `/kept_back/${key(name)}/${key(output)}`))));
  return found.length ? found : null;
}

function card(now, model, place) {
  const its = (name) => count(now, `/models/${place}/${name}`);
  return el("section", { class: "panel" },
    el("h3", {}, said(model.name, 80)),
    list([
      ["backend", said(`${model.backend}, ${model.provider}`, 80)],
      ["variant", said(model.variant, 80)],
      ["why", said(model.reason, 300)],
      ["runs", its("runs")],
      ["failed", at(model, "/failed") ? el("span", { class: "bad" }, its("failed")) : its("failed")],
      ...model.fallbacks.map((it) => ["not used", said(`${it.variant}: ${it.cause}`, 300)]),
    ]));
}

function entry(event) {
  const severity = { error: "bad", warning: "warning" }[event.severity] ?? "";
  const subject = [event.subject.name, event.subject.generation, event.subject.path].filter((it) => it !== undefined).join(" ");
  return el("li", {},
    el("time", { datetime: event.time }, new Date(event.time).toLocaleTimeString()),
    el("div", {},
      el("strong", { class: severity }, said(String(event.kind).replaceAll("_", " "), 80)), " ", said(subject, 200),
      event.cause ? el("div", { class: "muted" }, said(event.cause.message, 300)) : null));
}
