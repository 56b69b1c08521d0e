//! Loading the models of a release, each with the variants that load on this device.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use hotshoe_base::chain;
use hotshoe_config::InferenceConfig;
use hotshoe_infer::{Fallback, Models, NamedModel};
use hotshoe_trust::{Blob, Release, Variant};

use super::{LoadError, checked};

/// Loads the models of a release. A variant that does not load is skipped, and the next one serves instead.
pub(super) fn load<E: Error + Send + Sync + 'static>(
    release: &Release,
    read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
    models: &Models,
    inference: &InferenceConfig,
) -> Result<BTreeMap<String, Arc<NamedModel>>, LoadError> {
    warn_of_unknown(release, inference);
    let mut loaded = BTreeMap::new();
    for (name, spec) in &release.models {
        let (mut variants, mut refused) = (Vec::new(), Vec::new());
        let (options, mut last) = (inference.model(name, spec), None);
        for variant in in_order(&spec.variants, inference.prefer(name)) {
            let bytes = checked(&read, "model", name, &variant.blob)?;
            match models.load(variant.blob.digest, &bytes, &options) {
                Ok(model) => variants.push((variant.name.clone(), model)),
                Err(error) => {
                    let cause = chain(&error);
                    tracing::warn!(model = name, variant = variant.name, cause, "not loaded");
                    refused.push(Fallback {
                        variant: variant.name.clone(),
                        cause,
                    });
                    last = Some(error);
                }
            }
        }
        if let (true, Some(source)) = (variants.is_empty(), last) {
            let name = name.clone();
            return Err(match refused.len() {
                1 => LoadError::Model { name, source },
                _ => LoadError::NoVariant { name, refused },
            });
        }
        let named = NamedModel::new(name, variants)?.with_fallbacks(refused);
        loaded.insert(name.clone(), Arc::new(named));
    }
    Ok(loaded)
}

/// Warns of models and variants in the configuration that the release does not have. They may be meant for another release, so that
/// this is not an error.
fn warn_of_unknown(release: &Release, inference: &InferenceConfig) {
    for (name, own) in &inference.models {
        let Some(spec) = release.models.get(name) else {
            let known = release.models.keys().map(String::as_str);
            tracing::warn!(
                model = name,
                known = known.collect::<Vec<_>>().join(", "),
                "`[inference.models]` names a model that the release does not have"
            );
            continue;
        };
        let known: Vec<&str> = spec.variants.iter().map(|it| it.name.as_str()).collect();
        for variant in &own.prefer {
            if !known.contains(&variant.as_str()) {
                tracing::warn!(
                    model = name,
                    variant,
                    known = known.join(", "),
                    "`prefer` names a variant that the model does not have"
                );
            }
        }
    }
}

/// The variants in order: first those that the device prefers, then the others in the order of the release.
pub(super) fn in_order<'a>(
    variants: &'a [Variant],
    prefer: &'a [String],
) -> impl Iterator<Item = &'a Variant> {
    let preferred = prefer
        .iter()
        .enumerate()
        .filter(|(at, name)| prefer.iter().position(|other| other == *name) == Some(*at))
        .filter_map(|(_, name)| variants.iter().find(|variant| variant.name == *name));
    let others = variants.iter().filter(|v| !prefer.contains(&v.name));
    preferred.chain(others)
}
