// One device of the site: its whole status, asked from the device itself.

import { alerts } from "./alerts.js";
import { el, list, number, safe, said } from "./text.js";
import { get } from "./stream.js";
import { STATES, release, saidBy, stateOf } from "./site_devices.js";
import { health, phase } from "./site_table.js";

const LEAST_PAUSE_MS = 1000;
const SHOWN_EVENTS = 20;
const LONGEST_RAW = 200000;

export function details(devices) {
  const title = el("h2");
  const outcome = el("p", { role: "status" });
  const active = alerts();
  const parts = el("div", { class: "grid" });
  const raw = el("pre", { class: "raw", tabindex: "0", "aria-label": "Status as JSON" });
  const root = el("section", {}, title, outcome, active.root, parts,
    el("details", {}, el("summary", {}, "The whole status, as hotshoe status --json has it"), raw));
  let device = null;
  let waiting = false;
  let asked = 0;

  function show(name) {
    device = name;
    asked = 0;
    title.replaceChildren(said(name, 200));
    active.render({});
    parts.replaceChildren();
    raw.textContent = "";
    outcome.className = "muted";
    outcome.textContent = "Asking the device";
    load();
  }

  // Several changes ask the device once in a second.
  function changed(names) {
    if (!names.has(device) || waiting) return;
    waiting = true;
    setTimeout(() => { waiting = false; load(); }, Math.max(0, asked + LEAST_PAUSE_MS - Date.now()));
  }

  async function load() {
    const of = device;
    asked = Date.now();
    try {
      const status = await get(`api/device/${encodeURIComponent(of)}`);
      if (of !== device) return;
      outcome.className = "muted";
      outcome.textContent = `Answered at ${new Date().toLocaleTimeString()}`;
      render(status);
    } catch (error) {
      if (of !== device) return;
      outcome.className = "bad";
      outcome.replaceChildren(said(error.message, 400));
    }
  }

  function render(status) {
    const row = { ...devices.rows.get(device), ...status, answered: true };
    const state = STATES[stateOf(row)];
    const by = saidBy(row);
    const well = health(row);
    const { live, previous, staged, trial } = status.slots ?? {};
    active.render(status);
    parts.replaceChildren(
      panel("State", [
        ["phase", el("span", { class: state.tone }, said(phase(row), 300))],
        ["said", el("span", { class: by.tone }, said(by.text, 80))],
        ["health", el("span", { class: well.tone }, said(well.text, 300))],
        ["mode", status.governor ? said(status.governor.mode ?? "full", 80) : null],
        ["version", said(status.version, 80)],
        ["up", `${number(status.uptime_s, 0)} s`],
        ["labels", said(Object.entries(status.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(", ") || "\u2013", 400)],
      ]),
      panel("Releases", [["live", slot(live)], ["previous", slot(previous)], ["staged", slot(staged)], ["on trial", slot(trial?.slot)],
        ["samples of the trial", trial ? `${number(trial.samples, 0)} of ${number(trial.wanted_samples, 0)}` : null],
        ["seconds of the trial", trial ? `${number(trial.seconds, 0)} of ${number(trial.wanted_seconds, 0)}` : null]]),
      panel("Samples", [
        ["accepted", number(status.counters?.accepted, 0)],
        ["results", number(status.counters?.results, 0)],
        ["skipped", number(status.counters?.skipped, 0)],
        ["failed", number(status.counters?.failed, 0)],
        ["in flight", number(status.counters?.in_flight, 0)],
        ["queue", status.queue ? `${number(status.queue.len, 0)} of ${number(status.queue.capacity, 0)}` : null],
      ]),
      el("section", { class: "panel" }, el("h3", {}, "Last events"), el("ol", { class: "plain" },
        [...(status.events ?? [])].reverse().slice(0, SHOWN_EVENTS).map((event) => el("li", {},
          el("span", { class: { error: "bad", warning: "warning" }[event.severity] ?? "muted" }, `${new Date(event.time).toLocaleString()} `),
          said([String(event.kind).replaceAll("_", " "), event.subject?.name, event.subject?.generation].filter((it) => it !== undefined).join(" "), 300),
          event.cause ? [": ", said(event.cause.message, 300)] : null)))),
    );
    raw.textContent = safe(JSON.stringify(status, null, 2), LONGEST_RAW);
  }

  return { root, show, changed };
}

function panel(title, pairs) { return el("section", { class: "panel" }, el("h3", {}, title), list(pairs)); }

function slot(found) {
  if (!found) return null;
  const signers = found.signers?.length ? `, signed by ${found.signers.join(", ")}` : "";
  return said(`${release(found)}${signers}`, 400);
}
