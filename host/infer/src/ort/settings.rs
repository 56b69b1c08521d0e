//! What a model was run with, for a backend that keeps no plans of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backend::Setting;
use crate::{Stats, Tensor};

/// The last settings, by their shapes.
#[derive(Debug)]
pub(crate) struct Settings {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Least recently used first. There are few, so that a search through all is fast.
    settings: Vec<Setting>,
    stats: Stats,
}

impl Settings {
    /// Keeps up to `most`, at least 1.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            kept: Mutex::default(),
        }
    }

    /// Notes a run.
    pub(crate) fn used(&self, inputs: &[Tensor]) {
        let mut kept = self.kept();
        if let Some(position) = kept.settings.iter().rposition(|known| alike(known, inputs)) {
            kept.stats.hits += 1;
            if position + 1 < kept.settings.len() {
                let setting = kept.settings.remove(position);
                kept.settings.push(setting);
            }
            return;
        }
        kept.stats.misses += 1;
        if kept.settings.len() >= self.most {
            kept.settings.remove(0);
            kept.stats.evictions += 1;
        }
        kept.settings.push(Setting::of(inputs));
    }

    /// Whether a run with these shapes is among the last.
    pub(crate) fn knows(&self, inputs: &[Tensor]) -> bool {
        self.kept()
            .settings
            .iter()
            .any(|known| alike(known, inputs))
    }

    /// The least recently used first.
    pub(crate) fn all(&self) -> Vec<Setting> {
        self.kept().settings.clone()
    }

    pub(crate) fn stats(&self) -> Stats {
        let kept = self.kept();
        Stats {
            plans: kept.settings.len(),
            ..kept.stats
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn alike(setting: &Setting, inputs: &[Tensor]) -> bool {
    let shapes = setting.shapes.iter().map(Vec::as_slice);
    shapes.eq(inputs.iter().map(Tensor::shape))
}
