// The map of phases: one small cell for each device. One of them is in the order of the tab key, and arrow keys move among them.

import { el, safe } from "./text.js";
import { STATES, release, saidBy, stateOf } from "./site_devices.js";

export function map(open) {
  const grid = el("div", { class: "cells", role: "group", "aria-label": "Devices; arrow keys move, Enter opens", onkeydown: move });
  const about = el("output", { class: "muted" });
  const dashed = el("p", { class: "muted", hidden: true }, "A dashed border: no signature proves that the device said so.");
  const root = el("section", { "aria-label": "Map of phases" }, grid, about, dashed);
  const cells = new Map();
  let shown = [];
  let here = null;

  function draw(devices, rows) {
    const names = rows.map((row) => row.device);
    for (const row of rows) update(row);
    dashed.hidden = !rows.some(isUnproven);
    for (const device of cells.keys()) if (!devices.rows.has(device)) cells.delete(device);
    if (names.length !== shown.length || names.some((name, place) => name !== shown[place])) {
      const focused = grid.contains(document.activeElement);
      shown = names;
      grid.replaceChildren(...(names.length ? names.map((name) => cells.get(name).button) : [el("p", { class: "muted" }, "No device is like this.")]));
      if (!names.includes(here)) here = names[0] ?? null;
      reach(here, focused);
    }
  }

  function update(row) {
    const known = cells.get(row.device);
    if (known?.row === row) return;
    const state = STATES[stateOf(row)];
    const said = saidBy(row);
    const button = known?.button ?? el("button", { type: "button", tabindex: "-1",
      onclick: () => open(row.device), onfocus: () => { reach(row.device, false); explain(row.device); }, onmouseenter: () => explain(row.device) });
    button.className = `cell ${state.tone}${isUnproven(row) ? " unproven" : ""}`;
    button.textContent = state.mark;
    button.setAttribute("aria-label", label(row, state, said));
    cells.set(row.device, { row, button });
    if (document.activeElement === button) explain(row.device);
  }

  function label(row, state, said) {
    const parts = [safe(row.device, 120), state.text, release(row.slots?.live), said.text];
    return parts.filter(Boolean).map((part) => safe(part, 200)).join(", ");
  }

  function explain(device) { about.textContent = cells.get(device)?.button.getAttribute("aria-label") ?? ""; }

  // Makes one cell the one that the tab key reaches.
  function reach(device, focuses) {
    const before = cells.get(here)?.button;
    if (before) before.tabIndex = -1;
    here = device;
    const button = cells.get(device)?.button;
    if (!button) return;
    button.tabIndex = 0;
    if (focuses) button.focus();
  }

  function move(event) {
    const place = shown.indexOf(here);
    if (place < 0) return;
    const columns = rowLength();
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -place, End: shown.length - 1 - place };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = place + step;
    if (next >= 0 && next < shown.length) reach(shown[next], true);
  }

  function rowLength() {
    const top = cells.get(shown[0])?.button.offsetTop;
    const second = shown.findIndex((name) => cells.get(name).button.offsetTop !== top);
    return second < 0 ? shown.length : second;
  }

  return { root, draw };
}

// Where nothing is checked, a note says so once.
const isUnproven = (row) => row.claimed === true && row.claim !== "no_device_list";
