//! ONNX Runtime.

use hotshoe_config::Config;
use hotshoe_infer::inspect::probe;
use hotshoe_infer::{Backend, BackendChoice, Options, OrtOptions, ort_library};

use super::{Finding, State};

#[cfg(feature = "full")]
const ADVICE: &str = "`hotshoe runtime fetch` brings it, and the package hotshoe-onnxruntime to a device; another one needs ORT_DYLIB_PATH, or `library` under [inference]";
/// A program for devices downloads nothing.
#[cfg(not(feature = "full"))]
const ADVICE: &str = "the package hotshoe-onnxruntime has it, or `hotshoe runtime fetch` of the complete program; another one needs ORT_DYLIB_PATH, or `library` under [inference]";

/// Checks ONNX Runtime and the configured execution providers.
pub(super) fn runtime(config: Option<&Config>) -> Vec<Finding> {
    const WHAT: &str = "ONNX Runtime";
    let options = config.map_or_else(Options::default, |config| config.inference.options());
    let library = ort_library(&options.ort);
    let requires_ort = config.and_then(requires_ort);
    let Some(path) = &library.path else {
        let tried: Vec<String> = library
            .tried
            .iter()
            .map(|(path, why)| format!("{}: {why}", path.display()))
            .collect();
        let (state, so) = match requires_ort {
            Some(key) => (
                State::Fail,
                format!("no library can be loaded, but {key} is \"ort\", so its models cannot run"),
            ),
            None => (
                State::Warn,
                "no library can be loaded, so tract runs all models".to_owned(),
            ),
        };
        return vec![Finding::bad(
            WHAT,
            state,
            format!("{so} ({})", tried.join("; ")),
            ADVICE,
        )];
    };
    let mut findings = vec![Finding::ok(
        WHAT,
        format!(
            "{} at {}, its digest {}, with {}",
            library.version,
            path.display(),
            if library.digest.is_some() {
                "as it must be"
            } else {
                "not checked"
            },
            library.providers.join(", ")
        ),
    )];
    let is_needed = requires_ort.is_some();
    let alone = |providers| OrtOptions {
        providers,
        ..options.ort.clone()
    };
    findings.push(provider("cpu", alone(Vec::new()), is_needed));
    for wanted in &options.ort.providers {
        let one = alone(vec![wanted.clone()]);
        findings.push(provider(&wanted.name, one, is_needed));
    }
    findings
}

/// The first key that requires ONNX Runtime.
fn requires_ort(config: &Config) -> Option<String> {
    let inference = &config.inference;
    if inference.backend == BackendChoice::Ort {
        return Some("`backend` under [inference]".to_owned());
    }
    let mut models = inference.models.iter();
    models
        .find(|(_, own)| own.backend == Some(BackendChoice::Ort))
        .map(|(name, _)| format!("`backend` under [inference.models.{name}]"))
}

/// Checks whether a model runs on an execution provider.
fn provider(name: &str, options: OrtOptions, is_needed: bool) -> Finding {
    const WHAT: &str = "provider";
    match probe(Backend::Ort, &options) {
        Ok(probed) if probed.provider.eq_ignore_ascii_case(name) => {
            Finding::ok(WHAT, format!("{name} runs a model"))
        }
        Ok(probed) => Finding::bad(
            WHAT,
            State::Warn,
            format!("{name} cannot be used: {}", probed.notes.join("; ")),
            format!(
                "{} runs the models instead; install what {name} needs, or remove it from [[inference.providers]]",
                probed.provider
            ),
        ),
        Err(reason) => {
            let (state, advice) = if is_needed {
                (State::Fail, "try another version of ONNX Runtime")
            } else {
                let advice = "tract runs the models instead; try another version of ONNX Runtime";
                (State::Warn, advice)
            };
            Finding::bad(
                WHAT,
                state,
                format!("{name} cannot run a model: {reason}"),
                advice,
            )
        }
    }
}
