//! Models by digest, each loaded once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hotshoe_trust::Digest;

use crate::{LoadError, Model};

/// What models may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Compiled plans that a model keeps, one for each combination of input shapes. Each holds its own copy of the weights
    /// as the processor likes them. Default 16, at least 1.
    pub plans: usize,
    /// Most bytes of one tensor: an input, an output, or one between two layers. Default 256 MiB.
    pub max_tensor_bytes: usize,
    /// Most bytes of a model file. Default 1 GiB.
    pub max_model_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plans: 16,
            max_tensor_bytes: 256 << 20,
            max_model_bytes: 1 << 30,
        }
    }
}

/// Locked while its model loads, so that a second caller waits instead of loading it again.
type Slot = Arc<Mutex<Weak<Model>>>;

/// Loads models and shares them: there is one of each digest for as long as someone holds it.
#[derive(Debug, Default)]
pub struct Models {
    options: Options,
    slots: Mutex<HashMap<Digest, Slot>>,
}

impl Models {
    /// No model is loaded yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            slots: Mutex::default(),
        }
    }

    /// The model of this digest, loaded from `bytes` unless someone holds it already. The caller has checked that `bytes`
    /// have this digest. No plan is compiled; see [`Model::prepare`].
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&self, digest: Digest, bytes: &[u8]) -> Result<Arc<Model>, LoadError> {
        let slot = self.slot(digest);
        let mut held = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = held.upgrade() {
            return Ok(model);
        }
        let model = Arc::new(Model::load(digest, bytes, &self.options)?);
        *held = Arc::downgrade(&model);
        Ok(model)
    }

    fn slot(&self, digest: Digest) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // A slot that someone loads into has a second owner; one that is locked has too.
        slots.retain(|_, slot| {
            let loaded = slot.try_lock().is_ok_and(|held| held.strong_count() > 0);
            loaded || Arc::strong_count(slot) > 1
        });
        slots.entry(digest).or_default().clone()
    }
}
