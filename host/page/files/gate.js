// The health gate of a trial: each of its limits, and what the trial has so far.

import { el, ms, number } from "./text.js";

// `gate` is `health` of the release's document, `seen` the observations of the release that serves. Pairs of a title and a text.
export function gate(gate, seen) {
  if (!gate || !seen) return [];
  const pairs = [
    share("errors", seen.errors, seen.samples, gate["max-error-rate"]),
    share("traps", seen.traps, seen.samples, gate["max-trap-rate"]),
    share("missed deadlines", seen.deadline_misses, seen.samples, gate["max-deadline-miss-rate"]),
  ];
  const limit = gate["max-latency-p95-ms"];
  if (limit !== undefined && limit !== null) {
    const late = (seen.p95_us ?? 0) > limit * 1000;
    pairs.push(["p95", judged(late, `${ms(seen.p95_us)}; at most ${number(limit, 0)} ms`)]);
  }
  const ratio = gate["max-latency-ratio"];
  if (ratio !== undefined && ratio !== null) pairs.push(["p95 to that of the live release", `at most ${number(ratio, 2)} times`]);
  return pairs;
}

function share(title, count, samples, most = 0) {
  const part = samples ? count / samples : 0;
  return [title, judged(part > most, `${number(count, 0)} of ${number(samples, 0)} samples (${number(100 * part)}%); at most ${number(100 * most)}%`)];
}

// The gate also allows what the live release did on the same samples, so a limit that is passed is not a verdict.
function judged(isOver, text) { return el("span", { class: isOver ? "warning" : null }, text); }
