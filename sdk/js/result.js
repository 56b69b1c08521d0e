// Whether a value has the type that the component's world returns. The engine traps without a message if it does not. For the file that `hotshoe build` writes.

const RANGES = { u8: [0, 255], u16: [0, 65535], u32: [0, 4294967295], s8: [-128, 127], s16: [-32768, 32767], s32: [-2147483648, 2147483647] };
// Half of a surrogate pair without the other half, which UTF-8 cannot have.
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;
const LONGEST = 60;

// Why `value` does not fit `type`, with its place below `path`; undefined if it fits. `type` is what `hotshoe build` makes of the WIT files.
export function misfit(value, type, path) {
  if (type === null || type === "any") return undefined;
  if (typeof value?.then === "function") return `${path} is a Promise, and the host does not wait for it; write the function without \`async\``;
  if (typeof type === "string") return scalar(value, type, path);
  if ("list" in type) return list(value, type.list, path);
  if ("option" in type) return value === undefined || value === null ? undefined : misfit(value, type.option, path);
  if ("tuple" in type) {
    if (!Array.isArray(value) || value.length !== type.tuple.length) return wrong(value, `an array of ${type.tuple.length}`, path);
    return first(type.tuple, (inner, at) => misfit(value[at], inner, `${path}[${at}]`));
  }
  if ("enum" in type) return type.enum.includes(value) ? undefined : wrong(value, `one of ${quoted(type.enum)}`, path);
  if (typeof value !== "object" || value === null) return wrong(value, article(type), path);
  if ("record" in type) return first(type.record, ([field, inner]) => misfit(value[field], inner, `${path}.${field}`));
  if ("variant" in type) {
    const found = type.variant.find(([tag]) => tag === value.tag);
    if (!found) return wrong(value.tag, `one of ${quoted(type.variant.map(([tag]) => tag))}`, `${path}.tag`);
    return misfit(value.val, found[1], `${path}.val`);
  }
  return undefined;
}

// The text without halves of surrogate pairs, which UTF-8 cannot have.
export function wellFormed(text) {
  return LONE_SURROGATE.test(text) ? text.replace(new RegExp(LONE_SURROGATE, "g"), "\ufffd") : text;
}

function list(value, of, path) {
  if (ArrayBuffer.isView(value)) return typeof of === "string" && of !== "string" ? undefined : wrong(value, "an array", path);
  if (!Array.isArray(value)) return wrong(value, "an array", path);
  return first(value, (inner, at) => misfit(inner, of, `${path}[${at}]`));
}

function scalar(value, type, path) {
  if (type === "string") {
    if (typeof value !== "string") return wrong(value, "a string", path);
    return LONE_SURROGATE.test(value) ? `${path} has half of a surrogate pair, which is not text` : undefined;
  }
  if (type === "bool") return typeof value === "boolean" ? undefined : wrong(value, "a boolean", path);
  if (type === "float") return typeof value === "number" ? undefined : wrong(value, "a number", path);
  if (typeof value === "bigint" && type.endsWith("64")) return undefined;
  const [low, high] = RANGES[type] ?? [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
  return Number.isInteger(value) && value >= low && value <= high ? undefined : wrong(value, `an integer from ${low} to ${high}`, path);
}

function first(values, check) {
  for (let at = 0; at < values.length; at++) {
    const found = check(values[at], at);
    if (found) return found;
  }
  return undefined;
}

function wrong(value, wanted, path) {
  return `${path} is ${shown(value)}; it must be ${wanted}`;
}

function article(type) {
  return type.name ? `an object (${type.name})` : "a handle from the host";
}

function quoted(names) {
  return names.map((name) => `"${name}"`).join(", ");
}

function shown(value) {
  if (typeof value === "function") return "a function";
  if (typeof value === "bigint") return `${value}n`;
  let text;
  try {
    text = typeof value === "object" ? JSON.stringify(value) : typeof value === "string" ? JSON.stringify(value) : String(value);
  } catch {
    text = "an object";
  }
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}...` : text;
}
