import { delete as remove, get, keys, replace, set, version } from "hotshoe/state";

export { get, keys, remove, replace, set, version };

export function update(key, change) {
  for (;;) {
    const present = get(key) ?? null;
    const next = change(present);
    if (replace(key, present, next)) return next;
  }
}
