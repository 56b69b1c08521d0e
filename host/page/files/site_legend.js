// The legend of phases with their numbers, which is also the filter, and a search.

import { el, number } from "./text.js";
import { STATES, release, stateOf } from "./site_devices.js";

export function legend(devices, onChange) {
  const chosen = new Set();
  const search = el("input", { type: "search", id: "search", placeholder: "name or release", oninput: () => onChange() });
  const buttons = new Map(Object.entries(STATES).map(([state, about]) => {
    const count = el("span", { class: "count" });
    const button = el("button", { type: "button", class: "legend", "aria-pressed": "false", onclick: () => {
      if (!chosen.delete(state)) chosen.add(state);
      button.setAttribute("aria-pressed", String(chosen.has(state)));
      onChange();
    } }, el("span", { class: `cell ${about.tone}`, "aria-hidden": "true" }, about.mark), ` ${about.text} `, count);
    return [state, { button, count }];
  }));
  const root = el("div", { class: "row filters" },
    el("div", { class: "row", role: "group", "aria-label": "Show only these phases" }, [...buttons.values()].map(({ button }) => button)),
    el("label", { for: "search" }, "Search"), search);

  function draw() {
    const counts = new Map();
    for (const row of devices.rows.values()) counts.set(stateOf(row), (counts.get(stateOf(row)) ?? 0) + 1);
    for (const [state, { button, count }] of buttons) {
      const found = counts.get(state) ?? 0;
      button.hidden = !found && !chosen.has(state);
      count.textContent = number(found, 0);
    }
  }

  function rows() {
    const text = search.value.trim().toLowerCase();
    return devices.sorted().filter((row) => {
      if (chosen.size && !chosen.has(stateOf(row))) return false;
      if (!text) return true;
      const { live, previous, staged, trial } = row.slots ?? {};
      const names = [row.device, release(live), release(previous), release(staged), release(trial?.slot)];
      return names.some((name) => name?.toLowerCase().includes(text));
    });
  }

  return { root, draw, rows };
}
