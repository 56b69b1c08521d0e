// Errors that the host counts by their kind. Any other exception counts as `internal`.

export class HotshoeError extends Error {
  get name() {
    return this.constructor.name;
  }
  get code() {
    return "internal";
  }
}

export class InvalidInput extends HotshoeError {
  get code() {
    return "invalid-input";
  }
}

export class Unsupported extends HotshoeError {
  get code() {
    return "unsupported";
  }
}

export class NotFound extends HotshoeError {
  get code() {
    return "not-found";
  }
}

export class Denied extends HotshoeError {
  get code() {
    return "denied";
  }
}

export class LimitExceeded extends HotshoeError {
  get code() {
    return "limit-exceeded";
  }
}

// The error of a host function, which is the payload of the engine's exception.
export function valueOf(error) {
  return error instanceof Error ? error.payload : error;
}

export function codeOf(error) {
  const code = error instanceof HotshoeError ? error.code : valueOf(error)?.code;
  return typeof code === "string" ? code : "internal";
}
