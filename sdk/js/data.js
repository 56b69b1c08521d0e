import { read } from "hotshoe/data";
import { decodeUtf8 } from "./utf8.js";

export { read };

export function text(name) {
  return decodeUtf8(read(name));
}

export function lines(name) {
  const found = text(name).split("\n");
  if (found.at(-1) === "") found.pop();
  return found.map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line));
}
