//! The rules' text. It needs no host, so `cargo test` runs these tests.

/// The action of a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deed {
    Publish,
    Drop,
    Info,
    Warning,
    Critical,
}

/// One line: `LABEL MIN-SCORE ACTION [MESSAGE]`.
#[derive(Debug, PartialEq)]
pub struct Rule {
    label: String,
    min_score: f64,
    pub deed: Deed,
    pub message: String,
}

impl Rule {
    /// Whether the rule matches this label and score. The label `*` matches any.
    pub fn fits(&self, label: &str, score: f64) -> bool {
        (self.label == "*" || self.label == label) && score >= self.min_score
    }
}

/// Reads all rules. Blank lines and lines that begin with `#` are ignored.
pub fn parse(text: &str) -> Result<Vec<Rule>, String> {
    let lines = text.split('\n').map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            rule(line).map_err(|wrong| format!("rules, line {}: {wrong}", index + 1))
        })
        .collect()
}

fn rule(line: &str) -> Result<Rule, String> {
    let (label, rest) = word(line);
    let (score, rest) = word(rest);
    let (deed, message) = word(rest);
    let min_score = score
        .parse()
        .ok()
        .filter(|score: &f64| score.is_finite())
        .ok_or_else(|| format!("`{score}` is not a score, such as 0.5"))?;
    let deed = match deed {
        "publish" => Deed::Publish,
        "drop" => Deed::Drop,
        "info" => Deed::Info,
        "warning" => Deed::Warning,
        "critical" => Deed::Critical,
        other => {
            return Err(format!(
                "`{other}` is not an action: publish, drop, info, warning or critical"
            ));
        }
    };
    Ok(Rule {
        label: label.into(),
        min_score,
        deed,
        message: message.into(),
    })
}

/// The first word of a text, and the rest without the blanks between.
fn word(text: &str) -> (&str, &str) {
    let blank = |character| matches!(character, ' ' | '\t');
    let (word, rest) = text.split_once(blank).unwrap_or((text, ""));
    (word, rest.trim_matches(blank))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_rule_unless_it_is_a_comment() {
        let rules = parse("# all\n\nface  0.5\twarning  {count} in  sight \n* 0 publish").unwrap();
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[0].message, "{count} in  sight");
        assert!(rules[0].fits("face", 0.5) && !rules[0].fits("cat", 0.9));
        assert!(rules[1].fits("cat", 0.1));
    }

    #[test]
    fn a_line_that_is_no_rule_is_named() {
        let wrong = parse("face 0.5 publish\nface high publish").unwrap_err();
        assert_eq!(wrong, "rules, line 2: `high` is not a score, such as 0.5");
        for score in ["nan", "inf", "1e999"] {
            let wrong = parse(&format!("face {score} publish")).unwrap_err();
            assert!(wrong.ends_with("is not a score, such as 0.5"), "{wrong}");
        }
        assert!(
            parse("face 0.5 shout")
                .unwrap_err()
                .starts_with("rules, line 1: `shout`")
        );
    }
}
