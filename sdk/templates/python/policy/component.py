"""Decides by rules from a data file what happens to an insight.

A rule is a line `LABEL MIN-SCORE ACTION [MESSAGE]`, such as `person 0.6 warning {count} persons at the gate`. It applies if at least one class or detection
has that label (`*`: any) and at least that score. ACTION is publish, drop, info, warning or critical.
"""

import math
import re
from dataclasses import dataclass

from hotshoe import Error, Unsupported, data
from hotshoe.types import (
    Action,
    Action_Alert,
    Action_Drop,
    Action_Publish,
    Alert,
    DeviceContext,
    Insight,
    Insight_Classes,
    Insight_Detections,
    Severity,
)

SEVERITIES = {"info": Severity.INFO, "warning": Severity.WARNING, "critical": Severity.CRITICAL}


@dataclass
class Rule:
    label: str
    min_score: float
    action: str
    message: str

    def holds_for(self, label: str, score: float) -> bool:
        return self.label in ("*", label) and score >= self.min_score

    def make_action(self, count: int) -> Action:
        message = self.message.replace("{count}", str(count))
        if self.action == "publish":
            return Action_Publish()
        if self.action == "drop":
            return Action_Drop(message)
        return Action_Alert(Alert(SEVERITIES[self.action], message))


# Read at the first insight and kept: an instance serves many samples, and the data files of a release never change.
_rules: list[Rule] | None = None


def decide(insight: Insight, device: DeviceContext) -> list[Action]:
    """Called for every insight. The host carries out the actions in order; without actions, nothing leaves the device."""
    global _rules
    if _rules is None:
        _rules = parse_rules(data.lines("rules"))
    if not isinstance(insight, (Insight_Classes, Insight_Detections)):
        raise Unsupported("the rules are about classes and detections, and this insight is neither")
    actions = []
    for rule in _rules:
        count = sum(rule.holds_for(found.label, found.score) for found in insight.value)
        if count > 0:
            actions.append(rule.make_action(count))
    return actions


def parse_rules(lines: list[str]) -> list[Rule]:
    rules = []
    for number, line in enumerate(lines, start=1):
        line = line.strip(" \t")
        if line and not line.startswith("#"):
            rules.append(parse_rule(line, number))
    return rules


def parse_rule(line: str, number: int) -> Rule:
    words = re.split(r"[ \t]+", line, maxsplit=3)
    if len(words) < 3:
        raise Error(f"rules, line {number}: a rule is LABEL MIN-SCORE ACTION [MESSAGE]")
    label, score, action = words[:3]
    try:
        # Python reads `1_0` as a number.
        min_score = math.nan if "_" in score else float(score)
    except ValueError:
        min_score = math.nan
    if not math.isfinite(min_score):
        raise Error(f'rules, line {number}: "{score}" is not a number')
    if action not in ("publish", "drop", *SEVERITIES):
        raise Error(f'rules, line {number}: "{action}" is not an action: publish, drop, info, warning or critical')
    return Rule(label, min_score, action, words[3] if len(words) > 3 else "")
