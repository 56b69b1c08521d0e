use std::collections::BTreeMap;
use std::sync::Arc;

use hotshoe_infer::NamedModel;

/// The models and data files of a release that its components use, by name.
#[derive(Debug, Default)]
pub struct ComponentAssets {
    /// Loaded models.
    pub models: BTreeMap<String, Arc<NamedModel>>,
    /// Contents of data files.
    pub data: BTreeMap<String, Arc<[u8]>>,
}
