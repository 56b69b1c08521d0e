//! State of recurrent models: tensors that each run takes and returns, kept per source of samples.

use std::collections::HashMap;
use std::time::Instant;

use hotshoe_engine::{Failure, Fault};
use hotshoe_infer::{NamedModel, Tensor, TensorError, TensorInfo};
use hotshoe_trust::Model;
use parking_lot::{Condvar, Mutex, MutexGuard};

/// Most sources with state, per model. With more sources, the least recently used state is dropped.
pub const MAX_SOURCES: usize = 256;
/// Most bytes of state per model: 64 MiB.
pub const MAX_SOURCE_BYTES: usize = 64 << 20;

/// Why `state` of a release does not match its model.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The model has no such input or output.
    #[error("`state` names the {kind} `{name}`, but the model has {}", list(known))]
    Unknown {
        /// `input` or `output`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The names that it has.
        known: Vec<String>,
    },
    /// The output does not fit the input.
    #[error(
        "`state` feeds the output `{output}` ({from}) to the input `{input}` ({to}): both need the same element type and rank"
    )]
    Mismatch {
        /// The input.
        input: String,
        /// The output.
        output: String,
        /// Element type and rank of the output.
        from: String,
        /// Element type and rank of the input.
        to: String,
    },
    /// The initial zeros are too large.
    #[error("the input `{input}` of `state` cannot be initialised with zeros")]
    Zeros {
        /// The input.
        input: String,
        /// Why.
        #[source]
        source: TensorError,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

/// One input that holds state.
#[derive(Debug, Clone)]
struct Slot {
    input: String,
    /// The output that feeds it.
    output: String,
    /// Its value for a new source.
    zeros: Tensor,
}

/// The state of one model, by source.
#[derive(Debug)]
pub(super) struct Recurrent {
    slots: Vec<Slot>,
    sources: Mutex<SourceTable>,
    /// A run has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct SourceTable {
    by_name: HashMap<String, Entry>,
    /// Counts uses, so that the least recent one is known.
    clock: u64,
    /// Bytes of all tensors.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    tensors: Vec<Tensor>,
    used: u64,
    /// Whether a run uses them; the next run of this source waits.
    busy: bool,
}

impl Recurrent {
    /// The state that `spec` describes for a loaded model; `None` if it has no state.
    pub(crate) fn of(spec: &Model, model: &NamedModel) -> Result<Option<Self>, StateError> {
        let slots = spec.state.iter().map(|(input, output)| {
            let to = find("input", input, model.inputs())?;
            let from = find("output", output, model.outputs())?;
            let kind = |info: &TensorInfo| (info.element_type, info.shape.len());
            if kind(to) != kind(from) {
                let said = |info| format!("{}, {} dimensions", kind(info).0, kind(info).1);
                return Err(StateError::Mismatch {
                    input: input.clone(),
                    output: output.clone(),
                    from: said(from),
                    to: said(to),
                });
            }
            let zeros = zeros(to).map_err(|source| StateError::Zeros {
                input: input.clone(),
                source,
            })?;
            Ok(Slot {
                input: input.clone(),
                output: output.clone(),
                zeros,
            })
        });
        let slots: Vec<Slot> = slots.collect::<Result<_, _>>()?;
        Ok((!slots.is_empty()).then(|| Self::new(slots)))
    }

    fn new(slots: Vec<Slot>) -> Self {
        Self {
            slots,
            sources: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// Whether the state feeds this input.
    pub(crate) fn feeds(&self, input: &str) -> bool {
        self.slots.iter().any(|slot| slot.input == input)
    }

    /// The same configuration with empty state.
    pub(crate) fn empty_copy(&self) -> Self {
        Self::new(self.slots.clone())
    }

    /// Drops the state of all sources that no run is using.
    pub(crate) fn forget(&self) {
        let mut sources = self.lock();
        sources.by_name.retain(|_, entry| entry.busy);
        sources.bytes = sources.by_name.values().map(|e| bytes(&e.tensors)).sum();
    }

    /// Waits until no other run of `source` is active, and takes its state.
    ///
    /// # Errors
    /// [`Fault::Deadline`] if the other runs last beyond `deadline`.
    pub(crate) fn lock_source(
        &self,
        source: &str,
        deadline: Instant,
    ) -> Result<SourceLock<'_>, Failure> {
        let mut sources = self.lock();
        while sources.by_name.get(source).is_some_and(|entry| entry.busy) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let message = "the previous sample of the same source did not finish in time";
                return Err(Failure::new(Fault::Deadline, message));
            }
            self.ended.wait_for(&mut sources, left);
        }
        sources.clock += 1;
        let used = sources.clock;
        let zeros = || self.slots.iter().map(|slot| slot.zeros.clone()).collect();
        if !sources.by_name.contains_key(source) {
            let tensors: Vec<Tensor> = zeros();
            sources.bytes += bytes(&tensors);
            let entry = Entry {
                tensors,
                used,
                busy: false,
            };
            sources.by_name.insert(source.to_owned(), entry);
        }
        let tensors = match sources.by_name.get_mut(source) {
            Some(entry) => {
                (entry.used, entry.busy) = (used, true);
                entry.tensors.clone()
            }
            None => zeros(),
        };
        sources.make_room();
        Ok(SourceLock {
            memory: self,
            source: source.to_owned(),
            tensors,
        })
    }

    fn lock(&self) -> MutexGuard<'_, SourceTable> {
        self.sources.lock()
    }
}

impl SourceTable {
    /// Drops the least recently used sources, except those that a run is using.
    fn make_room(&mut self) {
        while self.by_name.len() > MAX_SOURCES || self.bytes > MAX_SOURCE_BYTES {
            let idle = self.by_name.iter().filter(|(_, entry)| !entry.busy);
            let oldest = idle.min_by_key(|(_, entry)| entry.used);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else {
                return;
            };
            if let Some(entry) = self.by_name.remove(&name) {
                self.bytes = self.bytes.saturating_sub(bytes(&entry.tensors));
            }
        }
    }
}

/// Exclusive use of the state of a source. If it is dropped without [`Self::keep`], the state is unchanged.
pub(super) struct SourceLock<'a> {
    memory: &'a Recurrent,
    source: String,
    tensors: Vec<Tensor>,
}

impl SourceLock<'_> {
    /// The inputs that hold state.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let slots = self.memory.slots.iter().zip(&self.tensors);
        slots.map(|(slot, tensor)| (slot.input.as_str(), tensor))
    }

    /// Stores the state outputs, and returns the others.
    ///
    /// # Errors
    /// [`Fault::Model`] if one is missing, or they are too large.
    pub(crate) fn keep(
        self,
        outputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, Failure> {
        let slots = &self.memory.slots;
        let (kept, others): (Vec<_>, Vec<_>) = outputs
            .into_iter()
            .partition(|(name, _)| slots.iter().any(|slot| slot.output == *name));
        let next: Option<Vec<Tensor>> = slots
            .iter()
            .map(|slot| {
                let made = kept.iter().find(|(name, _)| *name == slot.output);
                made.map(|(_, tensor)| tensor.clone())
            })
            .collect();
        let next = next.ok_or_else(|| {
            Failure::new(
                Fault::Model,
                "an output of `state` is missing in the outputs of the model",
            )
        })?;
        if bytes(&next) > MAX_SOURCE_BYTES {
            let message = format!(
                "the model returned {} bytes of state; at most {MAX_SOURCE_BYTES} are allowed",
                bytes(&next)
            );
            return Err(Failure::new(Fault::Model, message));
        }
        let mut sources = self.memory.lock();
        let added = bytes(&next);
        if let Some(entry) = sources.by_name.get_mut(&self.source) {
            let removed = bytes(&entry.tensors);
            entry.tensors = next;
            sources.bytes = sources.bytes.saturating_sub(removed) + added;
        }
        sources.make_room();
        drop(sources);
        Ok(others)
    }
}

impl Drop for SourceLock<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.memory.lock().by_name.get_mut(&self.source) {
            entry.busy = false;
        }
        self.memory.ended.notify_all();
    }
}

fn find<'a>(
    kind: &'static str,
    name: &str,
    infos: &'a [TensorInfo],
) -> Result<&'a TensorInfo, StateError> {
    let found = infos.iter().find(|info| info.name == name);
    found.ok_or_else(|| StateError::Unknown {
        kind,
        name: name.to_owned(),
        known: infos.iter().map(|info| info.name.clone()).collect(),
    })
}

/// Zeros of an input's shape; open dimensions become 1.
fn zeros(info: &TensorInfo) -> Result<Tensor, TensorError> {
    let shape: Vec<usize> = info.shape.iter().map(|size| size.unwrap_or(1)).collect();
    let elements = shape
        .iter()
        .try_fold(info.element_type.size(), |all, size| all.checked_mul(*size))
        .filter(|bytes| *bytes <= MAX_SOURCE_BYTES)
        .ok_or_else(|| TensorError::Overflow {
            shape: shape.clone(),
        })?;
    Tensor::from_bytes(info.element_type, &shape, &vec![0; elements])
}

fn bytes(tensors: &[Tensor]) -> usize {
    tensors.iter().map(Tensor::byte_len).sum()
}

#[cfg(test)]
mod tests;
