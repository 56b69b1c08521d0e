//! Models by digest, each loaded once.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use hotshoe_trust::Digest;
use parking_lot::Mutex;

use crate::executor::Executor;
use crate::{LoadError, Model, ModelOptions, Options};

/// A model with its options.
type Key = (Digest, ModelOptions);

/// Locked while its model loads, so that a second caller waits instead of loading it again.
type Slot = Arc<Mutex<Weak<Model>>>;

/// Loads models and shares them: each combination of digest and options exists once while it is in use.
#[derive(Debug)]
pub struct Models {
    options: Options,
    executor: Arc<Executor>,
    slots: Mutex<HashMap<Key, Slot>>,
}

impl Default for Models {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Models {
    /// Without loaded models.
    pub fn new(options: Options) -> Self {
        Self {
            executor: Executor::new(options.pool),
            options,
            slots: Mutex::default(),
        }
    }

    /// The model with this digest and these options, loaded from `bytes` unless it is already in use. The caller has checked the digest
    /// of `bytes`. No plan is compiled; see [`Model::prepare`].
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(
        &self,
        digest: Digest,
        bytes: &[u8],
        options: &ModelOptions,
    ) -> Result<Arc<Model>, LoadError> {
        let slot = self.slot((digest, options.clone()));
        let mut held = slot.lock();
        if let Some(model) = held.upgrade() {
            return Ok(model);
        }
        let model = Arc::new(Model::load(
            digest,
            bytes,
            options,
            &self.options,
            &self.executor,
        )?);
        *held = Arc::downgrade(&model);
        Ok(model)
    }

    fn slot(&self, key: Key) -> Slot {
        let mut slots = self.slots.lock();
        // A slot that is being loaded or is locked has a second owner.
        slots.retain(|_, slot| {
            let loaded = slot.try_lock().is_some_and(|held| held.strong_count() > 0);
            loaded || Arc::strong_count(slot) > 1
        });
        slots.entry(key).or_default().clone()
    }
}
