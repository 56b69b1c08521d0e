// The rollouts that the registry knows, with the devices of this site: asked while the view is open.

import { el, number, said } from "./text.js";
import { get } from "./stream.js";

const PAUSE_MS = 5000;

export function rollouts() {
  const body = el("div");
  const note = el("p", { class: "muted", role: "status" }, "Asking the registry");
  const root = el("section", { "aria-label": "Rollouts" }, note, body);
  let timer = null;
  let shown = "";

  async function ask() {
    try {
      const all = await get("api/rollouts");
      note.textContent = all.length ? "" : "The registry knows no rollout.";
      note.hidden = all.length > 0;
      // What did not change stays, with its focus and selection.
      const text = JSON.stringify(all);
      if (text !== shown) body.replaceChildren(...all.map(one));
      shown = text;
    } catch (error) {
      note.hidden = false;
      note.textContent = `The rollouts cannot be asked for: ${error.message}`;
    }
  }

  function draw() {
    if (timer !== null) return;
    ask();
    timer = setInterval(() => {
      if (root.isConnected) { ask(); return; }
      clearInterval(timer);
      timer = null;
    }, PAUSE_MS);
  }

  return { root, draw };
}

function one(rollout) {
  const title = el("h2", {}, said(rollout.name, 140), ` generation ${number(rollout.generation, 0)}: `, rollout.state);
  const cause = rollout.cause ? el("p", { class: "warning" }, said(rollout.cause.name, 80), ": ", said(rollout.cause.message, 500)) : null;
  const head = ["Stage", "Share", "Confirmed", "Others"].map((text) => el("th", { scope: "col" }, text));
  const lines = rollout.stages.map((stage) => line(stage, rollout.stage));
  const causes = Object.entries(rollout.causes).map(([name, count]) => el("li", {}, `${number(count, 0)} devices: `, said(name, 80)));
  const left = rollout.left_s === undefined ? null : el("p", { class: "muted" }, `The stage ends in ${number(rollout.left_s, 0)} s at the latest.`);
  return el("article", {}, title, cause,
    el("div", { class: "wide" }, el("table", { class: "devices" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, lines))),
    causes.length ? el("ul", {}, causes) : null, rollout.comparison ? compared(rollout.comparison) : null, left);
}

function compared(comparison) {
  const arm = ({ devices, mean }) => `${mean === null ? "no mean" : number(mean, 4)} on ${number(devices, 0)} devices`;
  const verdict = comparison.verdict === "not-known" ? "not known yet" : comparison.verdict;
  const needed = comparison.needed === undefined ? "" : ` (this difference needs ${number(comparison.needed, 0)} more devices of each arm)`;
  return el("p", {}, said(comparison.metric, 140), `: ${arm(comparison.new)}, ${arm(comparison.kept)} with the previous release: `, said(verdict, 20), needed);
}

function line(stage, current) {
  const confirmed = stage.states.confirmed ?? 0;
  const others = Object.entries(stage.states).filter(([state]) => state !== "confirmed")
    .map(([state, count]) => `${number(count, 0)} ${state}`).join(", ");
  const share = stage.stage === 0 ? "First devices" : `${number(stage.share_ppm / 10000, 2)} %`;
  const bar = el("progress", { max: Math.max(stage.devices, 1), value: confirmed, "aria-label": `Confirmed in stage ${stage.stage}` });
  return el("tr", { "aria-current": stage.stage === current ? "step" : null },
    el("td", {}, number(stage.stage, 0)), el("td", {}, share),
    el("td", {}, bar, ` ${number(confirmed, 0)} of ${number(stage.devices, 0)}`), el("td", {}, others));
}
