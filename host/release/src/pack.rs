//! Packing: models are checked, and their side files joined.

use std::cell::RefCell;
use std::error::Error;
use std::path::Path;

use anyhow::Context;
use hotshoe_base::chain;
use hotshoe_base::disk::parent;
use hotshoe_infer::{BackendChoice, LoadError, ModelOptions, Models, Options, whole};
use hotshoe_store::{ModelFile, Packed, pack_changed};
use hotshoe_trust::{Digest, ReleaseLimits, Time};

use crate::{baselines, encodings};

/// Why a model is not packed.
type ModelFault = Box<dyn Error + Send + Sync>;

/// A model that no backend of this machine loads.
#[derive(Debug, thiserror::Error)]
#[error("no backend loads it: {}", reasons.join("; "))]
struct Unloadable {
    /// The reason of each backend.
    reasons: Vec<String>,
}

/// Packs what a `release.toml` names into a folder, issued at `now`. Weights in files beside a model are packed into it.
/// Refuses a component that no device can load, and a baseline that no device can use.
pub fn pack(release_toml: &Path, out: &Path, now: Time) -> anyhow::Result<Packed> {
    let cannot = || format!("cannot pack {}", release_toml.display());
    encodings::check_described(release_toml).with_context(cannot)?;
    baselines::check_described(release_toml).with_context(cannot)?;
    pack_changed(release_toml, now, out, |_| (), &whole_model).with_context(cannot)
}

/// As [`pack`]; a model that neither tract nor ONNX Runtime loads is refused. Without ONNX Runtime on this machine, also returns a warning for each model that
/// tract refuses.
pub fn pack_checked(
    release_toml: &Path,
    out: &Path,
    now: Time,
) -> anyhow::Result<(Packed, Vec<String>)> {
    let warnings = RefCell::new(Vec::new());
    let check = |file: &ModelFile<'_>| -> Result<Option<Vec<u8>>, ModelFault> {
        let whole = whole_model(file)?;
        let bytes = whole.as_deref().unwrap_or(file.bytes);
        if let Some(reason) = check_loads(bytes, file.outputs)? {
            let name = file.model;
            warnings
                .borrow_mut()
                .push(format!("the model `{name}` {reason}"));
        }
        Ok(whole)
    };
    let cannot = || format!("cannot pack {}", release_toml.display());
    encodings::check_described(release_toml).with_context(cannot)?;
    baselines::check_described(release_toml).with_context(cannot)?;
    let packed = pack_changed(release_toml, now, out, |_| (), &check).with_context(cannot)?;
    Ok((packed, warnings.into_inner()))
}

/// The file with the weights that are in files beside it.
///
/// # Errors
/// Why it is not a complete model.
pub fn whole_model(file: &ModelFile<'_>) -> Result<Option<Vec<u8>>, ModelFault> {
    let folder = parent(file.path);
    Ok(whole(folder, file.bytes, ReleaseLimits::MODEL_BYTES)?)
}

/// Loads a model, first with tract. Returns a warning if only ONNX Runtime may load it, which this machine does not have.
fn check_loads(bytes: &[u8], outputs: &[String]) -> Result<Option<String>, ModelFault> {
    let models = Models::new(Options::default());
    let mut reasons = Vec::new();
    for backend in [BackendChoice::Tract, BackendChoice::Ort] {
        let options = ModelOptions {
            backend,
            outputs: outputs.to_owned(),
            ..ModelOptions::default()
        };
        match models.load(Digest::of(bytes), bytes, &options) {
            Ok(_) => return Ok(None),
            Err(LoadError::NoRuntime { .. } | LoadError::ChangedRuntime { .. }) => {
                return Ok(Some(format!(
                    "is not loaded by {}, and ONNX Runtime is not installed here to check it; fetch it with `hotshoe runtime fetch`, or make sure that each device has it",
                    reasons.join("; "),
                )));
            }
            Err(
                error @ (LoadError::Operators { .. }
                | LoadError::Misread { .. }
                | LoadError::Tract { .. }
                | LoadError::Runtime { .. }
                | LoadError::Panicked { .. }),
            ) => reasons.push(format!("{backend}: {}", chain(&error))),
            // What no backend can change.
            Err(error) => return Err(error.into()),
        }
    }
    Err(Unloadable { reasons }.into())
}
