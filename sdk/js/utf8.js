// UTF-8 for engines without TextDecoder. What is not UTF-8 is an error, never a replacement character.

import { HotshoeError } from "./errors.js";

// Characters that one call of `fromCodePoint` takes.
const PART = 4096;

export function decodeUtf8(bytes) {
  const parts = [];
  let points = [];
  for (let at = 0; at < bytes.length; ) {
    const [point, length] = decodePoint(bytes, at);
    points.push(point);
    at += length;
    if (points.length === PART) {
      parts.push(String.fromCodePoint(...points));
      points = [];
    }
  }
  parts.push(String.fromCodePoint(...points));
  return parts.join("");
}

function decodePoint(bytes, at) {
  const first = bytes[at];
  if (first < 0x80) return [first, 1];
  const length = first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first >= 0xf5 || at + length > bytes.length) throw broken(at);
  let point = first & (0x7f >> length);
  for (let more = 1; more < length; more++) {
    const next = bytes[at + more];
    if ((next & 0xc0) !== 0x80) throw broken(at);
    point = (point << 6) | (next & 0x3f);
  }
  const shortest = length === 2 ? 0x80 : length === 3 ? 0x800 : 0x10000;
  if (point < shortest || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) throw broken(at);
  return [point, length];
}

function broken(at) {
  return new HotshoeError(`byte ${at} is not UTF-8`);
}

export function encodeUtf8(text) {
  const bytes = [];
  for (const character of text) {
    const point = character.codePointAt(0);
    if (point < 0x80) bytes.push(point);
    else if (point < 0x800) bytes.push(0xc0 | (point >> 6), 0x80 | (point & 0x3f));
    else if (point < 0x10000) bytes.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f));
    else bytes.push(0xf0 | (point >> 18), 0x80 | ((point >> 12) & 0x3f), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f));
  }
  return Uint8Array.from(bytes);
}
