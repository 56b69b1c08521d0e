// Package component decides what happens to an insight, by rules from a data file.
//
// A rule is a line `LABEL MIN-SCORE ACTION [MESSAGE]`, such as `person 0.6 warning {count} persons at the gate`. It applies if at least
// one class or detection has that label (`*`: any) and at least that score. ACTION is publish, drop, info, warning or critical.
package component

import (
	"hotshoe"
	"hotshoe/types"
	"math"
	"strconv"
	"strings"
)

type rule struct {
	label    string
	minScore float64
	action   string
	message  string
}

// thing is what rules are about: a class or a detection.
type thing struct {
	label string
	score float64
}

var severities = map[string]types.Severity{
	"info":     types.SeverityInfo,
	"warning":  types.SeverityWarning,
	"critical": types.SeverityCritical,
}

// rules are read at the first insight and kept: an instance serves many samples, and the data files of a release never change.
var rules []rule

// Decide is called for every insight. The host carries out the actions in order; without actions, nothing leaves the device.
func Decide(insight types.Insight, _ types.DeviceContext) ([]types.Action, error) {
	if rules == nil {
		text, err := hotshoe.Data("rules")
		if err != nil {
			return nil, err
		}
		if rules, err = parseRules(string(text)); err != nil {
			return nil, err
		}
	}
	found, err := things(insight)
	if err != nil {
		return nil, err
	}
	var actions []types.Action
	for _, it := range rules {
		if count := it.count(found); count > 0 {
			actions = append(actions, it.act(count))
		}
	}
	return actions, nil
}

func things(insight types.Insight) ([]thing, error) {
	var found []thing
	switch insight.Tag() {
	case types.InsightClasses:
		for _, class := range insight.Classes() {
			found = append(found, thing{class.Label, float64(class.Score)})
		}
	case types.InsightDetections:
		for _, detection := range insight.Detections() {
			found = append(found, thing{detection.Label, float64(detection.Score)})
		}
	default:
		return nil, types.Unsupported("the rules are about classes and detections, and this insight is neither")
	}
	return found, nil
}

func (it rule) count(found []thing) int {
	count := 0
	for _, one := range found {
		if (it.label == "*" || it.label == one.label) && one.score >= it.minScore {
			count++
		}
	}
	return count
}

func (it rule) act(count int) types.Action {
	message := strings.ReplaceAll(it.message, "{count}", strconv.Itoa(count))
	switch it.action {
	case "publish":
		return types.MakeActionPublish()
	case "drop":
		return types.MakeActionDrop(message)
	default:
		return types.MakeActionAlert(types.Alert{Severity: severities[it.action], Message: message})
	}
}

func parseRules(text string) ([]rule, error) {
	parsed := []rule{}
	for index, line := range strings.Split(text, "\n") {
		line = strings.Trim(line, " \t\r")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		it, wrong := parseRule(line)
		if wrong != "" {
			return nil, types.Internal("rules, line " + strconv.Itoa(index+1) + ": " + wrong)
		}
		parsed = append(parsed, it)
	}
	return parsed, nil
}

// parseRule returns the rule of a line, or what is wrong with it.
func parseRule(line string) (rule, string) {
	label, rest := word(line)
	score, rest := word(rest)
	action, message := word(rest)
	if action == "" {
		return rule{}, "a rule is LABEL MIN-SCORE ACTION [MESSAGE]"
	}
	minScore, err := strconv.ParseFloat(score, 64)
	// Go reads `1_0` as a number.
	if err != nil || math.IsNaN(minScore) || math.IsInf(minScore, 0) || strings.Contains(score, "_") {
		return rule{}, "`" + score + "` is not a number"
	}
	if _, is := severities[action]; !is && action != "publish" && action != "drop" {
		return rule{}, "`" + action + "` is not an action: publish, drop, info, warning or critical"
	}
	return rule{label, minScore, action, message}, ""
}

// word cuts the first word off, and the spaces and tabs after it.
func word(text string) (string, string) {
	end := strings.IndexAny(text, " \t")
	if end < 0 {
		return text, ""
	}
	return text[:end], strings.TrimLeft(text[end:], " \t")
}
