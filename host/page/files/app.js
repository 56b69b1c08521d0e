// The page: its views, and the stream that feeds them.

import { safe } from "./text.js";
import { follow, onToken } from "./stream.js";
import { askToken } from "./dialog.js";
import { live } from "./live.js";
import { history } from "./history.js";
import { releases } from "./releases.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const views = { live: live(), history: history() };
views.releases = releases((steps) => views.live.setSteps(steps));
let current = null;
let slots = "";

function show() {
  const name = location.hash.slice(1);
  // The link over the navigation keeps the view.
  if (name === "main" && current) return;
  current = views[name] ? name : "live";
  main.replaceChildren(views[current].root);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${current}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  views[current].load?.();
}

function onStatus(value) {
  const { status } = value;
  const title = safe(`${status.device} at ${status.site}`, 140);
  document.getElementById("device").textContent = title;
  document.title = `${title} \u2013 Hotshoe`;
  views.live.status(value);
  if (current === "history") views.history.status();
  // Documents and the trial change with the slots.
  const now = JSON.stringify([status.slots, status.release?.digest]);
  if (now !== slots) {
    slots = now;
    views.releases.load();
  }
}

function onState(state) {
  connection.className = state;
  connection.textContent = state === "connected" ? "Connected" : "Connection lost; trying again";
}

onToken(askToken);
window.addEventListener("hashchange", () => { show(); main.focus(); });
show();
follow((name, value) => (name === "status" ? onStatus(value) : views.live.output(name, value)), onState);
