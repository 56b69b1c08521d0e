// The devices of the site, as the stream has told them.

// What a device may be in, with what its cell shows and its tone. Worst first.
export const STATES = {
  "cannot-serve": { text: "cannot serve", mark: "!", tone: "bad" },
  "no-answer": { text: "no answer", mark: "?", tone: "bad" },
  offline: { text: "offline", mark: "O", tone: "muted" },
  "rolled-back": { text: "rolled back", mark: "R", tone: "bad" },
  failed: { text: "failed", mark: "F", tone: "bad" },
  refused: { text: "refused", mark: "X", tone: "bad" },
  fetching: { text: "fetching", mark: "\u2193", tone: "accent" },
  verified: { text: "verified", mark: "V", tone: "accent" },
  staged: { text: "staged", mark: "S", tone: "accent" },
  "self-tested": { text: "self-tested", mark: "E", tone: "accent" },
  shadow: { text: "shadow", mark: "W", tone: "warning" },
  trial: { text: "trial", mark: "T", tone: "warning" },
  live: { text: "live", mark: "L", tone: "good" },
  absent: { text: "no release", mark: "A", tone: "muted" },
  unknown: { text: "unknown", mark: "U", tone: "muted" },
};

export function stateOf(row) {
  if (!row.answered) return row.present ? "no-answer" : "offline";
  if (row.cannot_serve) return "cannot-serve";
  const phase = row.deploy?.phase;
  // Nothing is deployed, and a release that was installed serves.
  if (phase === "absent" && row.slots?.live) return "live";
  return Object.hasOwn(STATES, phase ?? "") ? phase : "unknown";
}

// Who said it: `signed`, or why it is only claimed.
export function saidBy(row) {
  if (row.claimed === undefined) return { text: "\u2013", tone: "muted" };
  if (!row.claimed) return { text: "signed", tone: "good" };
  return row.claim === "no_device_list" ? { text: "claimed", tone: "warning" } : { text: `claimed: ${row.claim}`, tone: "bad" };
}

export function release(slot) { return slot ? `${slot.name} ${slot.generation}` : null; }

const order = new Intl.Collator("en", { numeric: true });
export const compare = (a, b) => order.compare(a, b);

export class Devices {
  constructor() { this.rows = new Map(); this.round = null; this.checked = true; }

  // Takes an event. Returns the names of the devices that it changes.
  take(name, value) {
    if (name === "site") {
      this.rows = new Map(value.devices.map((row) => [row.device, row]));
      this.round = value.round;
      this.checked = value.checked;
      return new Set(this.rows.keys());
    }
    if (name === "round") this.round = value;
    if (name !== "devices") return new Set();
    for (const device of value.removed) this.rows.delete(device);
    for (const row of value.changed) this.rows.set(row.device, row);
    return new Set(value.changed.map((row) => row.device));
  }

  sorted() { return [...this.rows.values()].sort((a, b) => compare(a.device, b.device)); }
}
