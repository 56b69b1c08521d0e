/* {{name}}: decides what happens to an insight, by rules from the data file `rules`:
 *
 *   LABEL MIN-SCORE ACTION [MESSAGE]
 *
 * A rule applies if a detection or class has that label (`*`: any) and at least that score. ACTION is `publish`, `drop`, or an
 * alert: `info`, `warning` or `critical`. In MESSAGE, `{count}` becomes the number of them.
 *
 * `hotshoe build` generates `wit.h` from the interfaces in wit/. Each name begins with its interface: `types_insight_t` is the type
 * `insight` of the interface `types` in wit/types.wit, with its documentation. The component must define one function,
 * `exports_decide_decide`, for `decide` of the interface `decide`. */
#include "hotshoe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One line of the rules, as text inside that line. */
struct rule {
  wit_string_t label;
  double min_score;
  const char *action;
  const char *message;
};

/* Cuts the next word off `*rest`; it is empty at the end. */
static char *next_word(char **rest) {
  char *word = *rest + strspn(*rest, " \t");
  char *end = word + strcspn(word, " \t");
  *rest = *end == '\0' ? end : end + 1;
  *end = '\0';
  return word;
}

/* The message without the spaces around it. */
static char *trimmed(char *text) {
  text += strspn(text, " \t");
  size_t len = strlen(text);
  while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t')) text[--len] = '\0';
  return text;
}

static bool parse_rule(char *line, unsigned number, struct rule *rule, types_error_t *err) {
  rule->label = hotshoe_text(next_word(&line));
  char *score = next_word(&line), *end = score;
  rule->min_score = strtod(score, &end);
  if (*score == '\0' || *end != '\0' || !isfinite(rule->min_score)) {
    return hotshoe_fail(err, TYPES_ERROR_CODE_INTERNAL, "rules, line %u: `%s` is not a score", number, score);
  }
  rule->action = next_word(&line);
  rule->message = trimmed(line);
  return true;
}

static bool matches(const struct rule *rule, wit_string_t label, float score) {
  return (hotshoe_equal(rule->label, hotshoe_text("*")) || hotshoe_equal(rule->label, label)) && (double)score >= rule->min_score;
}

/* How many detections or classes a rule matches. */
static unsigned count(const struct rule *rule, const types_insight_t *insight) {
  unsigned count = 0;
  if (insight->tag == TYPES_INSIGHT_DETECTIONS) {
    const types_list_detection_t *found = &insight->val.detections;
    for (size_t i = 0; i < found->len; i++) count += matches(rule, found->ptr[i].label, found->ptr[i].score);
  } else {
    const types_list_class_t *found = &insight->val.classes;
    for (size_t i = 0; i < found->len; i++) count += matches(rule, found->ptr[i].label, found->ptr[i].score);
  }
  return count;
}

/* The message with the number in place of each `{count}`. */
static wit_string_t fill(const char *message, unsigned count) {
  static const char place[] = "{count}";
  wit_string_t text = {NULL, 0};
  for (const char *at; (at = strstr(message, place)) != NULL; message = at + strlen(place)) {
    wit_string_t longer = hotshoe_format("%.*s%.*s%u", HOTSHOE_ARG(text), (int)(at - message), message, count);
    wit_string_free(&text);
    text = longer;
  }
  wit_string_t whole = hotshoe_format("%.*s%s", HOTSHOE_ARG(text), message);
  wit_string_free(&text);
  return whole;
}

/* Appends the action of a rule that applies. An unknown action is an error. */
static bool apply(const struct rule *rule, unsigned number, unsigned count, exports_decide_list_action_t *actions, types_error_t *err) {
  static const char *const severities[] = {"info", "warning", "critical"};
  types_action_t action = {.tag = TYPES_ACTION_ALERT};
  if (strcmp(rule->action, "publish") == 0) {
    action.tag = TYPES_ACTION_PUBLISH;
  } else if (strcmp(rule->action, "drop") == 0) {
    action.tag = TYPES_ACTION_DROP;
  } else {
    types_severity_t severity = TYPES_SEVERITY_INFO;
    while (severity <= TYPES_SEVERITY_CRITICAL && strcmp(rule->action, severities[severity]) != 0) severity++;
    if (severity > TYPES_SEVERITY_CRITICAL) {
      return hotshoe_fail(err, TYPES_ERROR_CODE_INTERNAL, "rules, line %u: `%s` is not an action", number, rule->action);
    }
    action.val.alert.severity = severity;
  }
  if (count == 0) return true;
  if (action.tag == TYPES_ACTION_DROP) action.val.drop = fill(rule->message, count);
  if (action.tag == TYPES_ACTION_ALERT) action.val.alert.message = fill(rule->message, count);
  hotshoe_push(actions, action);
  return true;
}

static bool follow_rules(const types_insight_t *insight, exports_decide_list_action_t *actions, types_error_t *err) {
  if (insight->tag != TYPES_INSIGHT_DETECTIONS && insight->tag != TYPES_INSIGHT_CLASSES) {
    return hotshoe_fail(err, TYPES_ERROR_CODE_UNSUPPORTED, "the rules are for detections and classes");
  }
  char *text = hotshoe_data_text("rules", err);
  if (text == NULL) return false;
  bool ok = true;
  char *rest = text, *line;
  for (unsigned number = 1; ok && (line = hotshoe_line(&rest)) != NULL; number++) {
    line = trimmed(line);
    if (*line == '\0' || *line == '#') continue;
    struct rule rule;
    ok = parse_rule(line, number, &rule, err) && apply(&rule, number, count(&rule, insight), actions, err);
  }
  free(text);
  return ok;
}

/* Called for each insight: true with `*ret` filled, or false with `*err`. A failure costs this sample and nothing else. */
bool exports_decide_decide(exports_decide_insight_t *insight, exports_decide_device_context_t *device, exports_decide_list_action_t *ret,
                           exports_decide_error_t *err) {
  *ret = (exports_decide_list_action_t){NULL, 0};
  bool ok = follow_rules(insight, ret, err);
  /* The component frees what it was given. The host frees what is returned, except the list if an error is returned. */
  if (!ok) exports_decide_list_action_free(ret);
  exports_decide_insight_free(insight);
  exports_decide_device_context_free(device);
  return ok;
}
