// Requests with the token, and the stream of events. EventSource cannot send a token, so the stream is read by fetch.

const KEY = "hotshoe-token";
let ask = null;

// Sets what asks the user for the token; it resolves to a token or null.
export function onToken(asks) { ask = asks; }

function headers(more = {}) {
  const token = sessionStorage.getItem(KEY);
  return token ? { ...more, authorization: `Bearer ${token}` } : more;
}

let asking = null;

async function request(path, options = {}, tries = 5) {
  const response = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options, headers: headers(options.headers) });
  if (response.status !== 401 || tries === 0 || !ask) return response;
  // Several requests ask once.
  asking ??= ask(sessionStorage.getItem(KEY) !== null).finally(() => { asking = null; });
  const token = await asking;
  if (!token) return response;
  sessionStorage.setItem(KEY, token);
  return request(path, options, tries - 1);
}

export async function get(path) {
  return answer(await request(path));
}

export async function post(path, body) {
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return answer(await request(path, options));
}

// What is at a path, or null.
export async function blob(path) {
  try {
    const response = await request(path);
    return response.ok ? await response.blob() : null;
  } catch {
    return null;
  }
}

// Runs `load` once more after its end if it was asked for meanwhile, so that no answer overtakes a later one.
export function inTurn(load) {
  let isWanted = false;
  let isRunning = false;
  return async () => {
    isWanted = true;
    if (isRunning) return;
    isRunning = true;
    try {
      while (isWanted) {
        isWanted = false;
        await load();
      }
    } finally {
      isRunning = false;
    }
  };
}

async function answer(response) {
  const body = await response.json().catch(() => ({ name: "unreadable", error: `status ${response.status}` }));
  if (response.ok) return body;
  const error = new Error(body.error ?? `status ${response.status}`);
  error.name = body.name ?? "error";
  throw error;
}

// Parses `text/event-stream` piece by piece.
export class Parser {
  constructor(found) { this.found = found; this.rest = ""; this.name = "message"; this.data = []; }

  push(piece) {
    this.rest += piece;
    let end;
    while ((end = this.rest.indexOf("\n")) >= 0) {
      const line = this.rest.slice(0, end).replace(/\r$/, "");
      this.rest = this.rest.slice(end + 1);
      this.line(line);
    }
  }

  line(line) {
    if (line === "") {
      if (this.data.length) this.found(this.name, this.data.join("\n"));
      this.name = "message";
      this.data = [];
    } else if (line.startsWith("event: ")) this.name = line.slice(7);
    else if (line.startsWith("data: ")) this.data.push(line.slice(6));
  }
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10000;

// Follows the device, and connects again for as long as the page is open.
export async function follow(onEvent, onState) {
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    try {
      const response = await request("api/events");
      if (!response.ok) throw new Error(`status ${response.status}`);
      onState("connected");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new Parser((name, data) => {
        pause = FIRST_PAUSE_MS;
        let value;
        try { value = JSON.parse(data); } catch { return; }
        // An error of a view is not one of the connection.
        try { onEvent(name, value); } catch (error) { console.error(error); }
      });
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        parser.push(value);
      }
    } catch { /* The state says so. */ }
    onState("lost");
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}
