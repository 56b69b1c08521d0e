// The figures that people look at first, three of them with their last two minutes.

import { el, number, said } from "./text.js";
import { count, derived, duration, key, measured } from "./figure.js";
import { spark } from "./chart.js";

const SECONDS = 120;

export function tiles() {
  const root = el("div", { class: "tiles" }, el("p", { class: "empty" }, "Waiting for the first status."));
  const series = { rate: [], latency: [], queue: [] };

  function keep(name, value) {
    series[name].push(value);
    if (series[name].length > SECONDS) series[name].shift();
  }

  function render(now, rates) {
    const total = now.stages.findIndex((stage) => stage.name === "total");
    const rate = rates.get("results");
    if (rate !== undefined) keep("rate", rate);
    keep("latency", now.stages[total]?.p50_us ?? 0);
    keep("queue", now.queue.len);
    root.replaceChildren(...[
      tile("Rate", [derived(number(rate, rate < 10 ? 1 : 0)), small("/s")], [count(now, "/counters/results"), " results"], series.rate),
      tile("Latency, p50", total < 0 ? "\u2013" : duration(now, `/stages/${total}/p50_us`), total < 0 ? "no sample yet" : [duration(now, `/stages/${total}/p95_us`), " at p95"], series.latency),
      tile("Queue", count(now, "/queue/len"), ["of ", count(now, "/queue/capacity"), " samples"], series.queue),
      tile("Failed", count(now, "/counters/failed"), ["of ", count(now, "/counters/accepted"), " accepted"], null, now.counters.failed > 0),
      now.counters.skipped > 0 ? tile("Skipped", count(now, "/counters/skipped"), "by a filter or a plan") : null,
      ...Object.entries(now.counters.dropped).map(([cause, dropped]) =>
        tile("Dropped", count(now, `/counters/dropped/${key(cause)}`), said(cause.replaceAll("_", " "), 200), null, dropped > 0)),
      known(now, "Temperature", "/governor/sensors/hottest_celsius", "\u00b0C", {}, "hottest zone"),
      known(now, "Battery", "/governor/sensors/charge_ratio", "%", { scale: 100 }, now.governor?.sensors?.mains ? "on mains" : "charge"),
      known(now, "Memory", "/memory/resident_mib", "MiB", {}, "of the daemon"),
      known(now, "Uptime", "/uptime_s", "s", {}, uptime(now.uptime_s)),
    ].filter((it) => it));
  }

  return { root, render };
}

function known(now, name, pointer, unit, options, below) {
  const value = measured(now, pointer, unit, options);
  return value ? tile(name, value, below) : null;
}

function tile(name, value, below, values = null, isBad = false) {
  return el("section", { class: "tile panel" },
    el("p", { class: "name" }, name),
    el("p", { class: isBad ? "value bad" : "value" }, value),
    el("p", { class: "muted" }, below),
    values ? spark(values, SECONDS) : null);
}

function small(text) { return el("small", {}, text); }

// The time since the start in words.
function uptime(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  const parts = [[days, "d"], [hours, "h"], [minutes, "min"]].filter(([value]) => value > 0).slice(0, 2);
  return derived(parts.length ? parts.map(([value, unit]) => `${value} ${unit}`).join(" ") : "since the start");
}
