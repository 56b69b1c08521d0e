//! The device's shared values, as components read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

/// The texts of shared values, by name. They change while components run; a clone shows the same ones.
#[derive(Debug, Clone, Default)]
pub struct SharedTexts(Arc<RwLock<BTreeMap<String, String>>>);

impl SharedTexts {
    /// Sets a value, which is JSON; `None` if nothing was written to it.
    pub fn set(&self, name: &str, text: Option<String>) {
        let mut texts = self.0.write();
        match text {
            Some(text) => drop(texts.insert(name.to_owned(), text)),
            None => drop(texts.remove(name)),
        }
    }

    /// The text of a value.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.0.read().get(name).cloned()
    }
}
