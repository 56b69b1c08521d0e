// The alerts that last, the most serious first.

import { el, safe, said } from "./text.js";
import { count } from "./figure.js";

const LOUD = { critical: "bad", warning: "warning" };

export function alerts() {
  const root = el("section", { "aria-label": "Alerts", hidden: true });
  let before = "[]";

  // What a reader has selected stays selected while nothing changes.
  function render(status) {
    const all = status.alerts ?? [];
    const now = JSON.stringify(all);
    if (now === before) return;
    before = now;
    root.hidden = all.length === 0;
    root.replaceChildren(el("h2", {}, "Alerts"), el("ol", { class: "plain panel" }, all.map((alert, place) => row(status, alert, place))));
  }

  return { root, render };
}

function kindOf(alert) { return String(alert.kind).replaceAll("_", " "); }

// The alerts that an operator must look at, in a few words and with the tone of the worst; null without one.
export function loud(status) {
  const found = (status.alerts ?? []).filter((alert) => Object.hasOwn(LOUD, alert.severity) && !alert.silenced_until);
  if (!found.length) return null;
  const text = found.map((alert) => `${alert.severity} ${kindOf(alert)}`).join(", ");
  return { text, tone: found.some((alert) => alert.severity === "critical") ? "bad" : "warning" };
}

function row(status, alert, place) {
  const silenced = alert.silenced_until;
  return el("li", {},
    el("strong", { class: silenced ? "muted" : LOUD[alert.severity] ?? "muted" }, safe(alert.severity, 20)),
    el("div", {},
      said(kindOf(alert), 80), " (", said(alert.subject, 120), "): ", said(alert.text, 400),
      el("span", { class: "muted" },
        " since ", time(alert.since),
        alert.count > 1 ? [", ", count(status, `/alerts/${place}/count`), " times"] : null,
        silenced ? [", silenced until ", time(silenced)] : null)));
}

function time(text) {
  return el("time", { datetime: safe(text, 60) }, safe(new Date(text).toLocaleString(), 60));
}
