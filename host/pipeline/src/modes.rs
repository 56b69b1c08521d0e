//! The modes of a release, as samples run in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hotshoe_config::InferenceConfig;
use hotshoe_infer::{Model, NamedModel, VariantChoice};
use hotshoe_trust::{Mode, Release, RestingOutput};

use super::Pipeline;
use super::models::in_order;

/// How a sample runs: the variants that its models begin with, and what rests. The default is the full mode of a release without modes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunMode {
    name: Option<String>,
    variants: Arc<VariantChoice>,
    resting: BTreeSet<String>,
    resting_outputs: BTreeSet<RestingOutput>,
}

/// Every mode that samples may run in, made when the release is loaded.
#[derive(Debug)]
pub(super) struct RunModes {
    full: Vec<Arc<RunMode>>,
    /// By name, then by the number of preferred variants that are left out.
    modes: BTreeMap<String, Vec<Arc<RunMode>>>,
}

impl RunMode {
    /// Its name in the release; none if the release has no modes.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether this output is not published.
    pub fn rests_output(&self, output: RestingOutput) -> bool {
        self.resting_outputs.contains(&output)
    }

    /// Whether this component does not run.
    pub fn rests_component(&self, component: &str) -> bool {
        self.resting.contains(component)
    }

    /// The same, with these models on the backend that does not serve.
    pub(super) fn on_other(&self, models: BTreeSet<String>) -> Self {
        Self {
            variants: Arc::new(self.variants.on_other(models)),
            ..self.clone()
        }
    }

    /// The variants that runs of models begin with.
    pub(super) const fn variants(&self) -> &Arc<VariantChoice> {
        &self.variants
    }
}

impl RunModes {
    pub(super) fn of(
        release: &Release,
        models: &BTreeMap<String, Arc<NamedModel>>,
        inference: &InferenceConfig,
    ) -> Self {
        let most = models.values().map(|named| named.variants().count());
        let most = most.max().unwrap_or(1).max(1);
        let all = |name: Option<&str>, mode: Option<&Mode>| {
            let begin = begin(release, models, inference, mode);
            let by_skipped = (0..most).map(|skipped| {
                let first = begin.iter().map(|(model, (first, last))| {
                    let first = (*first).max(skipped).min(*last);
                    (model.clone(), first)
                });
                Arc::new(RunMode {
                    name: name.map(ToOwned::to_owned),
                    variants: Arc::new(VariantChoice::new(first.collect())),
                    resting: mode.map_or_else(BTreeSet::new, |it| it.rests.components.clone()),
                    resting_outputs: mode.map_or_else(BTreeSet::new, |it| it.rests.outputs.clone()),
                })
            });
            by_skipped.collect::<Vec<_>>()
        };
        let modes = release.modes.iter();
        let modes = modes.map(|(name, mode)| (name.clone(), all(Some(name), Some(mode))));
        Self {
            full: all(release.full_mode(), None),
            modes: modes.collect(),
        }
    }

    fn get(&self, mode: Option<&str>, skip_variants: u32) -> Arc<RunMode> {
        let named = mode.and_then(|name| self.modes.get(name));
        let by_skipped = named.unwrap_or(&self.full);
        let wanted = usize::try_from(skip_variants).unwrap_or(usize::MAX);
        let found = by_skipped.get(wanted).or_else(|| by_skipped.last());
        found.cloned().unwrap_or_default() // there always is one
    }
}

/// For each model, the index of the variant that a mode begins with, and of the last one. A variant that did not load gives way to the
/// next one in order.
fn begin(
    release: &Release,
    models: &BTreeMap<String, Arc<NamedModel>>,
    inference: &InferenceConfig,
    mode: Option<&Mode>,
) -> BTreeMap<String, (usize, usize)> {
    let of = |(name, named): (&String, &Arc<NamedModel>)| {
        let loaded: Vec<&str> = named.variants().map(|(variant, _)| variant).collect();
        let last = loaded.len().saturating_sub(1);
        let wanted = mode.and_then(|mode| mode.variants.get(name));
        let first = wanted.zip(release.models.get(name)).map(|(wanted, spec)| {
            let order = in_order(&spec.variants, inference.prefer(name));
            let later = order.skip_while(|it| it.name != *wanted);
            let mut at = later.filter_map(|it| loaded.iter().position(|name| *name == it.name));
            at.next().unwrap_or(last)
        });
        (name.clone(), (first.unwrap_or(0), last))
    };
    models.iter().map(of).collect()
}

impl Pipeline {
    /// How samples run in this mode, without so many of the preferred variants of each model; the last variant always stays. A name that
    /// the release does not have, and none, are the full mode. Everything that it needs is loaded.
    pub fn run_mode(&self, mode: Option<&str>, skip_variants: u32) -> Arc<RunMode> {
        self.run_modes.get(mode, skip_variants)
    }

    /// The serving variant of a model, and those that the other modes begin with.
    pub(super) fn variants_of_modes<'a>(
        &self,
        name: &str,
        named: &'a NamedModel,
    ) -> Vec<&'a Arc<Model>> {
        let modes = self.run_modes.modes.values();
        let firsts = modes.filter_map(|by_skipped| by_skipped.first());
        let firsts: BTreeSet<usize> = firsts.map(|mode| mode.variants.of(name)).collect();
        let later = firsts.into_iter().filter(|first| *first > 0);
        let variants = later.filter_map(|first| named.variants().nth(first));
        std::iter::once(named.active())
            .chain(variants.map(|(_, model)| model))
            .collect()
    }
}
