// One dialog: it asks for the token, and before an order.

import { el } from "./text.js";

const byId = (id) => document.getElementById(id);

export function ask(title, body, confirm) {
  const dialog = byId("dialog");
  byId("dialog-title").textContent = title;
  byId("dialog-body").replaceChildren(...body);
  byId("dialog-confirm").textContent = confirm;
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "confirm"), { once: true });
    dialog.showModal();
  });
}

export async function askToken(wasRefused) {
  const input = el("input", { type: "password", id: "token", autocomplete: "off", required: true });
  const body = [
    el("p", {}, wasRefused ? "The token was refused." : "This page needs its token."),
    el("label", { for: "token" }, "Token"),
    input,
  ];
  return (await ask("Token of the page", body, "Continue")) ? input.value.trim() : null;
}
