use std::collections::BTreeMap;

/// The variants that runs begin with. The default is the preferred one of each model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VariantChoice {
    first: BTreeMap<String, usize>,
}

impl VariantChoice {
    /// By the names of models: the index of the variant, in the order of [`NamedModel::variants`](crate::NamedModel::variants). A model
    /// that is left out begins with its first one, and an index behind the last one is the last one.
    pub const fn new(first: BTreeMap<String, usize>) -> Self {
        Self { first }
    }

    /// The index for this model.
    pub fn of(&self, model: &str) -> usize {
        self.first.get(model).copied().unwrap_or(0)
    }
}
