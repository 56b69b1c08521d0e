//! Status of the models of a pipeline.

use hotshoe_infer::{BackendChoice, Model, NO_ROOM, NO_RUNTIME};
use hotshoe_protocol::status::{FallbackStatus, ModelStatus};
use parking_lot::MutexGuard;

use super::choice::switch_text;
use super::{Pipeline, Reasons};

impl Pipeline {
    /// The status of each model, sorted by name.
    pub fn model_status(&self) -> Vec<ModelStatus> {
        let reasons = self.reasons();
        let models = self.models.iter().map(|(name, named)| {
            let (model, variant) = (named.active(), named.variant());
            let (usage, stats) = (model.usage(), model.stats());
            let fallbacks = named
                .fallbacks()
                .into_iter()
                .map(|fallback| FallbackStatus {
                    variant: fallback.variant,
                    cause: self.texts.of_model(name, fallback.cause),
                });
            ModelStatus {
                name: name.clone(),
                variant: variant.to_owned(),
                backend: model.backend().to_string(),
                provider: model.provider(),
                provider_notes: model.provider_notes(),
                reason: self.reason(name, variant, model, &reasons),
                threads: self.threads(name),
                plans: stats.plans,
                plans_made: stats.misses,
                runs: usage.runs,
                failed: usage.failed,
                abandoned: usage.abandoned,
                expired: usage.expired,
                in_flight: usage.in_flight,
                waiting: usage.waiting,
                batches: usage.batches,
                fallbacks: fallbacks.collect(),
            }
        });
        models.collect()
    }

    /// Why a variant runs on its backend.
    fn reason(&self, name: &str, variant: &str, model: &Model, reasons: &Reasons) -> String {
        if let Some(switch) = model.switched() {
            return switch_text(&self.texts.switch(name, switch));
        }
        if let Some(reason) = reasons.get(&(name.to_owned(), variant.to_owned())) {
            return reason.text.clone();
        }
        let spec = self.release.models.get(name);
        let choice = spec.map(|spec| self.inference.model(name, spec).backend);
        if choice.is_some_and(|choice| choice != BackendChoice::Auto) {
            return "configured".to_owned();
        }
        if let Some((backend, cause)) = model.refused().first() {
            return if cause.starts_with(NO_RUNTIME) || cause.starts_with(NO_ROOM) {
                format!("{}: {cause}", model.backend())
            } else {
                format!("{backend} cannot run it: {cause}")
            };
        }
        if model.backends().len() > 1 {
            return "not measured".to_owned();
        }
        "chosen when another release loaded it".to_owned()
    }

    /// Threads of one run of this model.
    pub(super) fn threads(&self, name: &str) -> usize {
        let spec = self.release.models.get(name);
        spec.map_or(1, |spec| self.inference.model(name, spec).threads)
    }

    pub(super) fn reasons(&self) -> MutexGuard<'_, Reasons> {
        self.reasons.lock()
    }
}
