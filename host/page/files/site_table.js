// The table of devices: 50 on a page, sorted by a column.

import { loud } from "./alerts.js";
import { el, ms, number, said } from "./text.js";
import { STATES, compare, release, saidBy, stateOf } from "./site_devices.js";

const PAGE_ROWS = 50;

// Each with its title, what it is sorted by, and its text.
const COLUMNS = [
  ["Device", (row) => row.device],
  ["Live", (row) => release(row.slots?.live) ?? ""],
  ["Previous", (row) => release(row.slots?.previous) ?? ""],
  ["Trial", (row) => trial(row)],
  ["Phase", (row) => phase(row)],
  ["Health", (row) => health(row).text],
  ["Last rollback", (row) => rollback(row)],
  ["Said", (row) => saidBy(row).text],
];

export function table(open) {
  const body = el("tbody");
  const heads = COLUMNS.map(([title], place) => el("th", { scope: "col" },
    el("button", { type: "button", class: "sort", onclick: () => sortBy(place) }, title)));
  const pages = el("div", { class: "row", role: "navigation", "aria-label": "Pages of the table" });
  const root = el("section", { "aria-label": "Table of devices" },
    el("div", { class: "wide" }, el("table", { class: "devices" }, el("thead", {}, el("tr", {}, heads)), body)), pages);
  const lines = new Map();
  let sorted = { column: 0, down: false };
  let page = 0;
  let last = [];
  let lastDevices = null;

  function sortBy(column) {
    sorted = { column, down: sorted.column === column && !sorted.down };
    page = 0;
    draw(lastDevices, last);
  }

  function draw(devices, rows) {
    if (!devices) return;
    last = rows;
    lastDevices = devices;
    const by = COLUMNS[sorted.column][1];
    const keyed = rows.map((row) => [by(row), row]);
    keyed.sort(([a, one], [b, other]) => (compare(a, b) || compare(one.device, other.device)) * (sorted.down ? -1 : 1));
    const count = Math.max(1, Math.ceil(keyed.length / PAGE_ROWS));
    page = Math.min(page, count - 1);
    const visible = keyed.slice(page * PAGE_ROWS, (page + 1) * PAGE_ROWS).map(([, row]) => row);
    fill(visible);
    heads.forEach((head, place) => head.setAttribute("aria-sort", place !== sorted.column ? "none" : sorted.down ? "descending" : "ascending"));
    turnPages(count, keyed.length);
  }

  function fill(rows) {
    const focused = body.contains(document.activeElement) ? document.activeElement.closest("tr")?.device : null;
    const parts = rows.map((row) => {
      const known = lines.get(row.device);
      if (known?.row === row) return known.line;
      const line = lineOf(row);
      line.device = row.device;
      lines.set(row.device, { row, line });
      return line;
    });
    // Lines of other pages are made again when they are shown.
    const names = new Set(rows.map((row) => row.device));
    for (const device of lines.keys()) if (!names.has(device)) lines.delete(device);
    const same = parts.length === body.children.length && parts.every((part, place) => part === body.children[place]);
    if (same) return;
    body.replaceChildren(...(parts.length ? parts : [el("tr", {}, el("td", { colspan: COLUMNS.length, class: "muted" }, "No device is like this."))]));
    if (focused) lines.get(focused)?.line.querySelector("a")?.focus();
  }

  function lineOf(row) {
    const state = STATES[stateOf(row)];
    const by = saidBy(row);
    const well = health(row);
    const values = [
      el("a", { href: `#device/${encodeURIComponent(row.device)}`, onclick: (event) => { event.preventDefault(); open(row.device); } }, said(row.device, 120)),
      text(release(row.slots?.live)),
      text(release(row.slots?.previous)),
      el("span", { class: row.slots?.trial ? "warning" : "muted" }, text(trial(row))),
      el("span", { class: state.tone }, said(phase(row), 200)),
      el("span", { class: well.tone }, said(well.text, 300)),
      el("span", { class: row.last_rollback ? "bad" : "muted" }, text(rollback(row))),
      el("span", { class: by.tone }, said(by.text, 80)),
    ];
    return el("tr", {}, values.map((value, place) => el(place ? "td" : "th", { scope: place ? null : "row", "data-label": COLUMNS[place][0] }, value)));
  }

  function turnPages(count, rows) {
    const first = rows ? page * PAGE_ROWS + 1 : 0;
    const turn = (title, to) => el("button", { type: "button", "data-to": title, disabled: to < 0 || to >= count, onclick: () => { page = to; draw(lastDevices, last); } }, title);
    const focused = pages.contains(document.activeElement) ? document.activeElement.dataset.to : null;
    pages.replaceChildren(turn("Previous page", page - 1),
      el("span", { role: "status" }, `${number(first, 0)} to ${number(Math.min(rows, (page + 1) * PAGE_ROWS), 0)} of ${number(rows, 0)}`), turn("Next page", page + 1));
    if (focused) (pages.querySelector(`[data-to="${focused}"]:not([disabled])`) ?? pages.querySelector("button:not([disabled])"))?.focus();
  }

  return { root, draw };
}

const text = (value) => (value ? said(value, 200) : "\u2013");

function trial(row) {
  const found = row.slots?.trial;
  return found ? `${release(found.slot)}, ${Math.min(found.samples, found.wanted_samples)}/${found.wanted_samples} samples` : "";
}

function rollback(row) {
  const found = row.last_rollback;
  return found ? `${found.name} ${found.generation}: ${found.cause?.name}` : "";
}

// As `hotshoe status` words it.
export function phase(row) {
  const state = stateOf(row);
  if (!row.answered) {
    return row.silent_since && row.claimed !== undefined ? `${STATES[state].text} since ${new Date(row.silent_since).toLocaleTimeString()}` : STATES[state].text;
  }
  if (row.too_large_bytes) return `its status is too large to show here (${number(row.too_large_bytes, 0)} bytes)`;
  if (row.cannot_serve) return `cannot serve: ${row.cannot_serve.name}`;
  const { phase: named, fetched, total, cause, waiting } = row.deploy ?? {};
  let words = named === "absent" ? STATES[state].text : String(named);
  if (named === "fetching" && total > 0) words = `fetching ${number((100 * fetched) / total, 0)}% of ${number(total, 0)} bytes`;
  if (waiting && !["live", "refused", "failed", "rolled-back"].includes(named)) words += `, waits: ${waiting}`;
  return cause ? `${words}: ${cause.name}` : words;
}

export function health(row) {
  if (row.daemons > 1) return { text: `${row.daemons} daemons with this name`, tone: "bad" };
  if (row.broken?.length) return { text: `does not run: ${row.broken.join(", ")}`, tone: "bad" };
  const alerts = loud(row);
  if (!row.health) return alerts ?? { text: "\u2013", tone: "muted" };
  const { samples, errors, p95_us } = row.health;
  const late = p95_us === null || p95_us === undefined ? "" : `, p95 ${ms(p95_us)}`;
  const counts = `${number(samples, 0)} samples, ${number(errors, 0)} errors${late}`;
  return alerts ? { text: `${alerts.text}; ${counts}`, tone: alerts.tone } : { text: counts, tone: errors ? "warning" : "" };
}
