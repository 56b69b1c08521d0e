// The page of a site: its views, and the stream that feeds them.

import { el, number, safe } from "./text.js";
import { follow, onToken } from "./stream.js";
import { askToken } from "./dialog.js";
import { Devices } from "./site_devices.js";
import { legend } from "./site_legend.js";
import { map } from "./site_map.js";
import { table } from "./site_table.js";
import { details } from "./site_details.js";
import { rollouts } from "./site_rollouts.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const devices = new Devices();
const summary = el("p", { id: "summary", class: "muted" });
const notes = el("p", { class: "warning", hidden: true });
const filter = legend(devices, draw);
const views = { map: map(open), table: table(open), rollouts: rollouts() };
const one = details(devices);
let current = null;
let drawing = false;

function open(device) { location.hash = `device/${encodeURIComponent(device)}`; }

function show() {
  const name = location.hash.slice(1);
  // The link over the navigation keeps the view.
  if (name === "main" && current) return;
  const device = name.startsWith("device/") ? decoded(name.slice(7)) : null;
  current = device === null ? (Object.hasOwn(views, name) ? name : "map") : "device";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${current}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (current === "rollouts") main.replaceChildren(views.rollouts.root);
  else if (device === null) main.replaceChildren(summary, notes, filter.root, views[current].root);
  else main.replaceChildren(one.root);
  if (device !== null) one.show(device);
  draw();
}

// A hash that someone typed may not be one that this page wrote.
function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

// Many changes are drawn once.
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (current === "device") return;
    filter.draw();
    views[current].draw(devices, filter.rows());
  });
}

function onEvent(name, value) {
  const changed = devices.take(name, value);
  if (name === "site") {
    const title = safe(`Site ${value.site}`, 140);
    document.getElementById("site").textContent = title;
    document.title = `${title} \u2013 Hotshoe`;
    note();
  }
  if (name === "site" || name === "round") sum();
  if (current === "device") one.changed(changed);
  draw();
}

function note() {
  notes.hidden = devices.checked;
  notes.textContent = "Claimed: the registry checks no signatures, so any session can say what a device does. Set device-keys in registry.toml.";
}

function sum() {
  const { round } = devices;
  if (!round) { summary.textContent = "Asking the devices"; return; }
  const parts = [`${number(round.devices, 0)} devices, asked at ${new Date(round.at).toLocaleTimeString()}`];
  if (round.left_out) parts.push(`${number(round.left_out, 0)} names left out: a page has 4,096 devices, and a name 256 bytes`);
  if (round.error) parts.push(safe(round.error, 300));
  summary.textContent = parts.join("; ");
}

function onState(state) {
  connection.className = `state ${state}`;
  connection.textContent = state === "connected" ? "Connected" : "Connection lost; trying again";
}

onToken(askToken);
window.addEventListener("hashchange", () => { show(); main.focus(); });
show();
follow(onEvent, onState);
