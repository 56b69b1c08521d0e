use std::collections::{BTreeMap, BTreeSet};

/// The variants that runs begin with. The default is the preferred one of each model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VariantChoice {
    first: BTreeMap<String, usize>,
    /// Models that run on the backend that does not serve.
    on_other: BTreeSet<String>,
}

impl VariantChoice {
    /// By the names of models: the index of the variant, in the order of [`NamedModel::variants`](crate::NamedModel::variants). A model
    /// that is left out begins with its first one, and an index behind the last one is the last one.
    pub const fn new(first: BTreeMap<String, usize>) -> Self {
        Self {
            first,
            on_other: BTreeSet::new(),
        }
    }

    /// The same, but the models with these names run on the loaded backend that does not serve, if there is one: on the caller's thread,
    /// without its deadline, and without a fallback. Such a run delays no other one, and is not counted.
    #[must_use]
    pub fn on_other(&self, models: BTreeSet<String>) -> Self {
        Self {
            on_other: models,
            ..self.clone()
        }
    }

    /// Whether this model runs on the backend that does not serve.
    pub(super) fn is_on_other(&self, model: &str) -> bool {
        self.on_other.contains(model)
    }

    /// The index for this model.
    pub fn of(&self, model: &str) -> usize {
        self.first.get(model).copied().unwrap_or(0)
    }
}
