//! The device selector.
use std::collections::BTreeMap;

use anyhow::bail;
use hotshoe_trust::DeviceSelector;

/// The selector from `--device` and `--select`: any of the names, and all of the labels.
pub(crate) fn selector(
    names: &[String],
    labels: &[(String, String)],
) -> anyhow::Result<DeviceSelector> {
    let mut wanted = BTreeMap::new();
    for (key, value) in labels {
        if let Some(other) = wanted.insert(key.clone(), value.clone())
            && other != *value
        {
            bail!("a device cannot have both {key}={other} and {key}={value}; publish twice");
        }
    }
    Ok(DeviceSelector {
        names: names.to_vec(),
        labels: wanted,
    })
}

/// A selector as text, to follow "device of site S"; empty if it selects all.
pub(crate) fn words(selector: &DeviceSelector) -> String {
    let mut words = String::new();
    if !selector.names.is_empty() {
        words.push_str(&format!(" called {}", selector.names.join(" or ")));
    }
    if !selector.labels.is_empty() {
        let labels: Vec<String> = selector
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        words.push_str(&format!(" with {}", labels.join(", ")));
    }
    words
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn names_and_labels_make_a_selector() {
        let selector = selector(
            &["line-*".to_owned()],
            &[pair("line", "4"), pair("floor", "2"), pair("line", "4")],
        )
        .unwrap();
        assert_eq!(selector.names, ["line-*"]);
        assert_eq!(selector.labels.len(), 2);
        assert_eq!(words(&selector), " called line-* with floor=2, line=4");
    }

    #[test]
    fn nothing_selects_all() {
        let selector = selector(&[], &[]).unwrap();
        assert_eq!(selector, DeviceSelector::default());
        assert_eq!(words(&selector), "");
    }

    #[test]
    fn one_label_with_two_values_is_refused() {
        let error = selector(&[], &[pair("line", "4"), pair("line", "5")]).unwrap_err();
        assert!(error.to_string().contains("line=4 and line=5"), "{error}");
    }
}
