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
  // Other characters cannot be in a header: the request would fail before it is sent, each time.
  const input = el("input", { type: "password", id: "token", autocomplete: "off", required: true,
    pattern: "\\s*[\\x21-\\x7e]+\\s*", title: "A token has letters, digits and signs of ASCII, without spaces" });
  const body = [
    el("p", {}, wasRefused ? "The page refused the token." : "The page asks for its token."),
    el("label", { for: "token" }, "Token"),
    input,
  ];
  return (await ask("Token of the page", body, "Continue")) ? input.value.trim() : null;
}
