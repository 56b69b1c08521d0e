//! Small samples, and the two releases that process them.

use crate::setup::{BenchSetup, PackedRelease};

/// A pipeline of a policy only, whose samples are insights.
pub(super) fn empty_policy(setup: &BenchSetup<'_>) -> anyhow::Result<PackedRelease> {
    let recipe = format!(
        r#"name = "empty-policy"
generation = 1
expires-in = "1d"
[components.empty-policy]
file = "{policy}"
world = "policy"
[[pipeline]]
policy = "empty-policy"
"#,
        policy = setup.guest("empty-policy").display()
    );
    setup.make("empty-policy", &recipe)
}

/// A stage that reads all bytes of a sample, and the empty policy.
pub(super) fn light(setup: &BenchSetup<'_>) -> anyhow::Result<PackedRelease> {
    let recipe = format!(
        r#"name = "light"
generation = 1
expires-in = "1d"
[components.measure]
file = "{measure}"
world = "stage"
[components.empty-policy]
file = "{policy}"
world = "policy"
[[pipeline]]
stage = "measure"
[[pipeline]]
policy = "empty-policy"
"#,
        measure = setup.guest("measure").display(),
        policy = setup.guest("empty-policy").display()
    );
    setup.make("light", &recipe)
}

/// An insight of named numbers as JSON of exactly so many bytes, at least 64. Spaces fill what is left.
pub(super) fn insight(bytes: usize) -> Vec<u8> {
    const BEGIN: &str = r#"{"kind":"scalars","scalars":["#;
    const FIRST: &str = r#"{"name":"a","value":1,"unit":""}"#;
    const NEXT: &str = r#",{"name":"room","value":21.5,"unit":"Cel"}"#;
    const END: &str = "]}";
    let mut text = format!("{BEGIN}{FIRST}");
    while text.len() + NEXT.len() + END.len() <= bytes {
        text.push_str(NEXT);
    }
    text.push_str(END);
    format!("{text:<bytes$}").into_bytes()
}

/// So many bytes.
pub(super) fn bytes(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| at.to_le_bytes()[0]).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use hotshoe_engine::Insight;

    #[test]
    fn an_insight_has_the_size_and_numbers_that_fill_it() {
        for (size, count) in [(64, 1), (4096, 97)] {
            let bytes = insight(size);
            assert_eq!(bytes.len(), size);
            let read: Insight = serde_json::from_slice(&bytes).unwrap();
            assert!(matches!(read, Insight::Scalars { scalars } if scalars.len() == count));
        }
    }
}
