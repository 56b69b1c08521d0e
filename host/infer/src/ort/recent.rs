//! Recently used input signatures, for a backend without explicit plans.

use parking_lot::{Mutex, MutexGuard};

use crate::backend::InputSignature;
use crate::{Stats, Tensor};

/// The most recent input signatures, by shape.
#[derive(Debug)]
pub(crate) struct RecentSignatures {
    most: usize,
    kept: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Least recently used first. There are few, so a linear search is fast.
    signatures: Vec<InputSignature>,
    stats: Stats,
}

impl RecentSignatures {
    /// Keeps up to `most`, at least 1.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            kept: Mutex::default(),
        }
    }

    /// Records a run.
    pub(crate) fn used(&self, inputs: &[Tensor]) {
        let mut kept = self.kept();
        if let Some(position) = kept
            .signatures
            .iter()
            .rposition(|known| alike(known, inputs))
        {
            kept.stats.hits += 1;
            if position + 1 < kept.signatures.len() {
                let signature = kept.signatures.remove(position);
                kept.signatures.push(signature);
            }
            return;
        }
        kept.stats.misses += 1;
        if kept.signatures.len() >= self.most {
            kept.signatures.remove(0);
            kept.stats.evictions += 1;
        }
        kept.signatures.push(InputSignature::of(inputs));
    }

    /// Whether a recent run had these shapes.
    pub(crate) fn knows(&self, inputs: &[Tensor]) -> bool {
        self.kept()
            .signatures
            .iter()
            .any(|known| alike(known, inputs))
    }

    /// All signatures, least recently used first.
    pub(crate) fn all(&self) -> Vec<InputSignature> {
        self.kept().signatures.clone()
    }

    pub(crate) fn stats(&self) -> Stats {
        let kept = self.kept();
        Stats {
            plans: kept.signatures.len(),
            ..kept.stats
        }
    }

    fn kept(&self) -> MutexGuard<'_, Entries> {
        self.kept.lock()
    }
}

fn alike(signature: &InputSignature, inputs: &[Tensor]) -> bool {
    let shapes = signature.shapes.iter().map(Vec::as_slice);
    shapes.eq(inputs.iter().map(Tensor::shape))
}
