// The page: its views, and the stream that feeds them.

import { safe, said } from "./text.js";
import { follow, onToken } from "./stream.js";
import { askToken } from "./dialog.js";
import { live } from "./live.js";
import { history } from "./history.js";
import { releases } from "./releases.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const pause = document.getElementById("pause");
const views = { live: live(), history: history() };
views.releases = releases((steps) => views.live.setSteps(steps));
let current = null;
let slots = "";
let state = "";
let paused = false;
// What came last, and the outputs that came, while the page was paused.
let held = null;
let heldOutputs = 0;

function show() {
  const name = location.hash.slice(1);
  // The link over the navigation keeps the view.
  if (name === "main" && current) return;
  current = Object.hasOwn(views, name) ? name : "live";
  main.replaceChildren(views[current].root);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${current}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  views[current].load?.();
}

function onStatus(value) {
  const { status } = value;
  document.getElementById("device").replaceChildren(said(status.device, 80), " ", siteOf(status));
  document.title = `${safe(`${status.device} at ${status.site}`, 140)} \u2013 Hotshoe`;
  views.live.status(value);
  if (current === "history") views.history.status();
  // Documents and the trial change with the slots.
  const now = JSON.stringify([status.slots, status.release?.digest]);
  if (now !== slots) {
    slots = now;
    views.releases.load();
  }
}

function siteOf(status) {
  const site = document.createElement("small");
  site.append("at ", said(status.site, 60));
  return site;
}

function onEvent(name, value) {
  if (!paused) {
    if (name === "status") onStatus(value);
    else views.live.output(name, value);
    return;
  }
  if (name === "status") held = value;
  else if (name !== "picture") heldOutputs += name === "missed" ? value : 1;
  sayState();
}

function onState(next) {
  state = next;
  sayState();
}

function sayState() {
  const lost = state === "lost";
  connection.className = `state ${lost ? "lost" : paused ? "paused" : state}`;
  const text = lost ? "Connection lost; trying again" : state === "connected" ? "Connected" : "Connecting";
  const shown = paused && !lost ? `Paused; ${heldOutputs.toLocaleString("en")} outputs since` : text;
  if (connection.textContent !== shown) connection.textContent = shown;
}

pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Continue" : "Pause";
  if (!paused) {
    views.live.skipped(heldOutputs);
    if (held) onStatus(held);
    held = null;
    heldOutputs = 0;
  }
  sayState();
});
onToken(askToken);
window.addEventListener("hashchange", () => { show(); scrollTo(0, 0); main.focus({ preventScroll: true }); });
show();
follow(onEvent, onState);
