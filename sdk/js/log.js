import { log } from "hotshoe/log";
import { wellFormed } from "./result.js";

export { log };

const line = (level) => (message) => log(level, wellFormed(String(message)));

export const trace = line("trace");
export const debug = line("debug");
export const info = line("info");
export const warn = line("warn");
export const error = line("error");
