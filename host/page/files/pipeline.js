// The pipeline as a picture: its steps in their order, as the release defines them, each with its rate and times.

import { el, list, number, said } from "./text.js";
import { at, count, derived, duration, key } from "./figure.js";

export function pipeline() {
  const root = el("ol", { class: "pipeline" });
  let steps = [];
  let last = null;

  function render(now, rates) {
    last = [now, rates];
    const boxes = [{ kind: "sample" }, { kind: "queue", name: "queue" }, ...steps, { kind: "result", name: "total" }];
    root.replaceChildren(...boxes.map((box) => step(now, rates, box)));
  }

  // The document of a release comes after the status that names it.
  function setSteps(next) {
    steps = next;
    if (last) render(...last);
  }

  return { root, render, setSteps };
}

function step(now, rates, { kind, name }) {
  if (kind === "sample") {
    return box(kind, "accepted", [["samples", count(now, "/counters/accepted")], ["in flight", count(now, "/counters/in_flight")]]);
  }
  const place = now.stages.findIndex((stage) => stage.name === name);
  const failed = `/counters/failed_at/${key(name)}`;
  const component = now.components.find((it) => it.name === name);
  const model = now.models.find((it) => it.name === name);
  const facts = [
    ["rate", rates.has(name) ? derived(`${number(rates.get(name))}/s`) : null],
    ["p50", duration(now, `/stages/${place}/p50_us`)],
    ["p95", duration(now, `/stages/${place}/p95_us`)],
    ["waiting", kind === "queue" ? [count(now, "/queue/len"), " of ", count(now, "/queue/capacity")] : null],
    ["runs on", kind === "infer" && model ? said(model.backend, 60) : null],
    ["failed", at(now, failed) ? el("span", { class: "bad" }, count(now, failed)) : null],
    ["paused", component?.backing_off ? el("span", { class: "bad" }, said(component.backing_off.fault, 80)) : null],
    ...inner(now, name),
  ];
  const title = { queue: now.queue.policy.replaceAll("-", " "), result: "answered" }[kind] ?? name;
  return box(kind, title, facts.some(([, value]) => value) ? facts : [["rate", "\u2013"]]);
}

// The models that a stage runs itself.
function inner(now, name) {
  return now.stages.flatMap((stage, place) => {
    const own = stage.name.startsWith(`${name}/`) ? stage.name.slice(name.length + 1) : null;
    return own === null ? [] : [[said(own, 60), duration(now, `/stages/${place}/p50_us`)]];
  });
}

function box(kind, title, facts) {
  return el("li", { class: `panel ${kind}` }, el("span", { class: "kind" }, kind), el("h3", {}, said(title, 80)), list(facts));
}
