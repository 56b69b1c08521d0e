// {{name}}: decides what happens to an insight, by rules from the data file `rules`:
//
//   LABEL MIN-SCORE ACTION [MESSAGE]
//
// A rule applies if a detection or class has that label (`*`: any) and at least that score. ACTION is `publish`, `drop`, or an alert:
// `info`, `warning` or `critical`. In MESSAGE, `{count}` becomes the number of them.
//
// wit/types.wit documents insights and actions. `TRY(x)` gives the value of `x`, or returns its error.
#include "hotshoe.hpp"

#include <cmath>

using namespace hotshoe;

// One line of the rules.
struct Rule {
  std::string_view label;
  double min_score;
  std::string_view action;
  std::string_view message;

  bool matches(std::string_view found, float score) const { return (label == "*" || label == found) && double(score) >= min_score; }
};

static constexpr std::string_view blanks = " \t";

static std::string_view trimmed(std::string_view text) {
  size_t begin = text.find_first_not_of(blanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) + 1 - begin);
}

// Cuts the next word off `rest`; it is empty at the end.
static std::string_view next_word(std::string_view &rest) {
  rest = trimmed(rest);
  std::string_view word = rest.substr(0, rest.find_first_of(blanks));
  rest.remove_prefix(word.size());
  return word;
}

static Result<Rule> parse_rule(std::string_view line, size_t number) {
  Rule rule;
  rule.label = next_word(line);
  std::string score(next_word(line));
  char *end = nullptr;
  rule.min_score = std::strtod(score.c_str(), &end);
  if (score.empty() || *end != '\0' || !std::isfinite(rule.min_score)) {
    return fail(Code::internal, "rules, line ", number, ": `", score, "` is not a score");
  }
  rule.action = next_word(line);
  rule.message = trimmed(line);
  return rule;
}

// The message with the number in place of each `{count}`.
static std::string fill(std::string_view message, size_t count) {
  static constexpr std::string_view place = "{count}";
  std::string text(message), number = std::to_string(count);
  for (size_t at = 0; (at = text.find(place, at)) != text.npos; at += number.size()) text.replace(at, place.size(), number);
  return text;
}

// The action of the rule, for that many matches.
static Result<Action> action_of(const Rule &rule, size_t number, size_t count) {
  if (rule.action == "publish") return Publish{};
  std::string message = fill(rule.message, count);
  if (rule.action == "drop") return Drop{message};
  if (rule.action == "info") return Alert{Severity::info, message};
  if (rule.action == "warning") return Alert{Severity::warning, message};
  if (rule.action == "critical") return Alert{Severity::critical, message};
  return fail(Code::internal, "rules, line ", number, ": `", rule.action, "` is not an action");
}

// How many detections or classes the rule matches; `found` is a list of either.
template <class Found>
static size_t count(const Rule &rule, const Found &found) {
  size_t count = 0;
  for (const auto &one : found) count += rule.matches(one.label, one.score);
  return count;
}

// Called for each insight. A failure costs this sample and nothing else.
static Result<Actions> decide(Insight insight, Device) {
  auto *detections = std::get_if<Detections>(&insight);
  auto *classes = std::get_if<Classes>(&insight);
  if (!detections && !classes) return fail(Code::unsupported, "the rules are for detections and classes");

  std::string rules = TRY(read_data("rules"));
  Actions actions;
  size_t number = 0;
  for (std::string_view line : lines(rules)) {
    number++;
    line = trimmed(line);
    if (line.empty() || line.starts_with('#')) continue;
    Rule rule = TRY(parse_rule(line, number));
    size_t found = detections ? count(rule, *detections) : count(rule, *classes);
    Action action = TRY(action_of(rule, number, found));
    if (found > 0) actions.push_back(action);
  }
  return actions;
}

// Exports it as `decide` of the interface `decide`, which the host calls.
HOTSHOE_POLICY(decide)
