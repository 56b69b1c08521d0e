//! Suggestions for misspelt keys.

/// A key or value that a schema does not know, with those that it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// `key` for a table's key, `value` for one of a fixed set of values.
    pub kind: &'static str,
    pub found: String,
    pub known: Vec<String>,
}

impl Unknown {
    /// Reads serde's own report of an unknown field or variant. serde fixes its wording in
    /// `de::Error::{unknown_field, unknown_variant}`; the tests of this crate fail if that ever changes.
    pub(crate) fn from_serde(message: &str) -> Option<Self> {
        let (kind, rest) = match message.split_once("unknown field `") {
            Some((_, rest)) => ("key", rest),
            None => ("value", message.split_once("unknown variant `")?.1),
        };
        let (found, rest) = rest.split_once('`')?;
        // After the found key, every odd piece between back-ticks is a known one.
        let known = rest
            .lines()
            .next()?
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        Some(Self {
            kind,
            found: found.to_owned(),
            known,
        })
    }

    /// The known key that is most similar to the unknown one, if any is similar.
    pub(crate) fn nearest(&self) -> Option<&str> {
        let similarity = |known: &&String| strsim::jaro_winkler(&self.found.to_lowercase(), known);
        self.known
            .iter()
            .map(|known| (similarity(&known), known))
            .filter(|(score, _)| *score > 0.6)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, known)| known.as_str())
    }
}

/// What to do about an unknown key: "did you mean ...?", or the known keys if none is similar.
pub(crate) fn suggestion(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if known.is_empty() => "no key is known here".to_owned(),
        None => format!("known here: {}", known.join(", ")),
    }
}
