// The releases of the device, what changed between two of them, and the orders about them.

import { el, list, said } from "./text.js";
import { count } from "./figure.js";
import { get, inTurn, post } from "./stream.js";
import { ask } from "./dialog.js";
import { gate } from "./gate.js";

export function releases(onSteps) {
  const slots = el("div", { class: "grid" });
  const rollBack = order("Roll back", "api/rollback");
  const activate = order("Activate", "api/activate");
  const noToken = el("p", { class: "muted", hidden: true }, "Orders need a token: set page.token-file.");
  const orders = el("div", { class: "row orders" }, rollBack.button, activate.button, noToken);
  const outcome = el("p", { role: "status" });
  const changes = el("div", { class: "stack" });
  const from = el("select", { id: "from", onchange: () => compare() });
  const to = el("select", { id: "to", onchange: () => compare() });
  const root = el("div", {}, el("h2", {}, "Releases"), slots, orders, outcome,
    el("h2", {}, "What changed"),
    el("div", { class: "row choices" }, el("label", { for: "from" }, "from"), from, el("label", { for: "to" }, "to"), to), changes);
  let shown = "";
  let options = [];

  const load = inTurn(async () => {
    let answer;
    try {
      answer = await get("api/releases");
    } catch (error) {
      slots.replaceChildren(el("p", { class: "bad" }, said(error.message, 300)));
      return;
    }
    const serving = answer.release?.digest;
    onSteps(steps(answer.documents[serving]));
    render(answer);
  });

  function render(answer) {
    const { live, previous, staged, trial } = answer.slots;
    const there = [["Live", live], ["On trial", trial?.slot], ["Staged", staged], ["Previous", previous]].filter(([, slot]) => slot);
    slots.replaceChildren(...(there.length ? there.map(([place, slot]) => card(place, slot, answer)) : [el("p", { class: "empty" }, "No release is on this device.")]));
    const left = trial?.slot ?? live;
    const back = trial ? live : previous;
    rollBack.set(answer.may_order && (trial || back) ? left : null, [
      "The device leaves ", said(name(left), 120), back ? [" and serves ", said(name(back), 120)] : " and serves nothing", "."]);
    activate.set(answer.may_order ? staged : null, ["The device tries ", said(name(staged), 120), "."]);
    noToken.hidden = answer.may_order;
    options = there.map(([place, slot]) => ({ value: slot.release, text: `${place}: ${name(slot)}` }));
    const key = JSON.stringify(options);
    if (key === shown) return;
    shown = key;
    for (const select of [from, to]) {
      select.replaceChildren(...options.map(({ value, text }) => {
        const option = el("option", { value });
        option.textContent = text;
        return option;
      }));
    }
    from.value = (trial ? live : previous)?.release ?? options[0]?.value ?? "";
    to.value = (trial?.slot ?? live)?.release ?? options[0]?.value ?? "";
    compare();
  }

  function card(place, slot, answer) {
    const serving = answer.release?.digest === slot.release ? answer.release : null;
    const trial = place === "On trial" ? answer.slots.trial : null;
    return el("section", { class: `panel slot ${place === "Live" || trial ? "serving" : ""}` }, el("span", { class: "kind" }, place), el("h3", {}, said(name(slot), 120)), list([
      ["digest", el("code", {}, said(slot.release, 80))],
      ["signed by", said((slot.signers ?? serving?.signers ?? []).join(", ") || "none of the trusted keys", 300)],
      ["installed", new Date(slot.installed).toLocaleString()],
      ["samples", trial ? progress(answer, "samples") : null],
      ["seconds", trial ? progress(answer, "seconds") : null],
      ["starts left", trial ? count(answer, "/slots/trial/tries_left") : null],
      ["paused", trial?.is_paused ? "yes: another mode is in force" : null],
      ...(trial ? gate(answer.documents[slot.release]?.health, answer.health) : []),
    ]));
  }

  // During a trial the releases come each second. A button that was made again each time would lose the focus, and a click.
  function order(title, path) {
    let slot = null;
    let explained = [];
    const button = el("button", { type: "button", disabled: true, onclick: async () => {
      // What the user saw: others may come while the dialog is open.
      const { release } = slot;
      if (!(await ask(`${title}?`, [el("p", {}, explained)], title))) return;
      outcome.className = "muted";
      outcome.textContent = `${title} \u2026`;
      try {
        await post(path, { release });
        outcome.className = "good";
        outcome.textContent = `${title}: done`;
      } catch (error) {
        outcome.className = "bad";
        outcome.replaceChildren(`${title}: `, said(error.message, 600));
      }
      load();
    } }, title);
    function set(nextSlot, nextExplained) {
      slot = nextSlot;
      explained = nextExplained;
      button.disabled = !slot;
    }
    return { button, set };
  }

  const compare = inTurn(async () => {
    if (!from.value || from.value === to.value) {
      changes.replaceChildren(el("p", { class: "empty" }, options.length > 1 ? "Choose two different releases." : "There is one release, so nothing to compare."));
      return;
    }
    try {
      const found = await get(`api/diff?from=${from.value}&to=${to.value}`);
      changes.replaceChildren(...diff(found));
    } catch (error) {
      changes.replaceChildren(el("p", { class: "bad" }, said(error.message, 300)));
    }
  });

  return { root, load };
}

function name(slot) { return slot ? `${slot.name} ${slot.generation}` : ""; }

// How much of what the trial needs it has. The slots are those of the status.
function progress(answer, name) {
  const { [name]: value, [`wanted_${name}`]: wanted } = answer.slots.trial;
  return [
    count(answer, `/slots/trial/${name}`), " of ", count(answer, `/slots/trial/wanted_${name}`),
    el("progress", { value: Math.min(value, wanted), max: Math.max(wanted, 1), "aria-label": `${name} of the trial` }),
  ];
}

// The steps of a pipeline, from the document of its release.
export function steps(document) {
  if (!Array.isArray(document?.pipeline)) return [];
  return document.pipeline.map((step) => {
    const [[kind, what]] = Object.entries(step);
    return { kind, name: what.component ?? what.model };
  });
}

function diff({ changes, left_out }) {
  if (!changes.length) return [el("p", { class: "empty" }, "The two releases are the same.")];
  const sections = grouped(changes);
  const parts = [...sections].map(([section, found]) => el("section", { class: "panel" }, el("h3", {}, said(section, 80)),
    el("ol", { class: "plain" }, found.map((change) => el("li", { class: "change" }, el("strong", {}, said(change.path.join(" \u203a "), 300)), lines(change))))));
  if (left_out) parts.push(el("p", { class: "warning" }, `${left_out} more changes are not shown.`));
  return parts;
}

// By section; what belongs to the release as a whole is in one.
function grouped(changes) {
  const sections = new Map();
  for (const change of changes) {
    const section = change.path.length > 1 ? change.section : "release";
    sections.set(section, [...(sections.get(section) ?? []), change]);
  }
  return sections;
}

function lines(change) {
  const rows = change.change === "text" ? change.lines.map(({ on, text }) => [on, text])
    : [["before", change.before], ["after", change.after]].filter(([, value]) => value !== undefined);
  return el("div", { class: "diff" }, rows.map(([side, value]) => el("span", { class: side }, said(value))));
}
