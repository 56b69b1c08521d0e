// Decides by rules from a data file what happens to an insight.
//
// A rule is a line `LABEL MIN-SCORE ACTION [MESSAGE]`, such as `person 0.6 warning {count} persons at the gate`. It applies if at least one class or detection
// has that label (`*`: any) and at least that score. ACTION is publish, drop, info, warning or critical.

import { data, HotshoeError, Unsupported } from "hotshoe";

const ACTIONS = /** @type {const} */ (["publish", "drop", "info", "warning", "critical"]);

/** @typedef {{ label: string, minScore: number, action: (typeof ACTIONS)[number], message: string }} Rule */

// Read at the first insight and kept: an instance serves many samples, and the data files of a release never change.
/** @type {Rule[] | undefined} */
let rules;

/**
 * Called for every insight. The host carries out the actions in order; without actions, nothing leaves the device.
 *
 * @param {import("hotshoe/types").Insight} insight
 * @param {import("hotshoe/types").DeviceContext} _device
 */
export function decide(insight, _device) {
  rules ??= parseRules(data.lines("rules"));
  if (insight.tag !== "classes" && insight.tag !== "detections") {
    throw new Unsupported("the rules are about classes and detections, and this insight is neither");
  }
  /** @type {import("hotshoe/types").Action[]} */
  const actions = [];
  for (const rule of rules) {
    let count = 0;
    for (const { label, score } of insight.val) {
      if ((rule.label === "*" || rule.label === label) && score >= rule.minScore) count += 1;
    }
    if (count > 0) actions.push(makeAction(rule, count));
  }
  return actions;
}

/** @param {Rule} rule @param {number} count @returns {import("hotshoe/types").Action} */
function makeAction(rule, count) {
  const message = rule.message.replaceAll("{count}", String(count));
  switch (rule.action) {
    case "publish":
      return { tag: "publish" };
    case "drop":
      return { tag: "drop", val: message };
    default:
      return { tag: "alert", val: { severity: rule.action, message } };
  }
}

/** @param {string[]} lines */
function parseRules(lines) {
  /** @type {Rule[]} */
  const found = [];
  lines.forEach((line, at) => {
    const text = line.replace(/^[ \t]+|[ \t]+$/g, "");
    if (text !== "" && !text.startsWith("#")) found.push(parseRule(text, at + 1));
  });
  return found;
}

/** @param {string} line @param {number} number @returns {Rule} */
function parseRule(line, number) {
  const words = /^([^ \t]+)[ \t]+([^ \t]+)[ \t]+([^ \t]+)(?:[ \t]+(.*))?$/.exec(line);
  if (!words) throw new HotshoeError(`rules, line ${number}: a rule is LABEL MIN-SCORE ACTION [MESSAGE]`);
  const [, label = "", score = "", word = "", message = ""] = words;
  const minScore = Number(score);
  if (!Number.isFinite(minScore)) throw new HotshoeError(`rules, line ${number}: "${score}" is not a number`);
  const action = ACTIONS.find((action) => action === word);
  if (!action) throw new HotshoeError(`rules, line ${number}: "${word}" is not an action: ${ACTIONS.slice(0, -1).join(", ")} or critical`);
  return { label, minScore, action, message };
}
