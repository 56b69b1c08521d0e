//! Execution providers of ONNX Runtime.

use std::collections::BTreeMap;

use ort::ep::{
    ACL, ArbitrarilyConfigurableExecutionProvider, CUDA, ExecutionProvider,
    ExecutionProviderDispatch, OpenVINO, QNN, TensorRT, XNNPACK,
};

use crate::Provider;
use crate::guard::guard;

/// The processor, which is always available and the last resort.
pub(super) const CPU: &str = "cpu";

/// A provider that this program supports.
struct KnownProvider {
    /// Its name in the configuration.
    name: &'static str,
    /// Its name in ONNX Runtime.
    full: &'static str,
    available: fn() -> ort::Result<bool>,
    make: fn(&BTreeMap<String, String>) -> Result<ExecutionProviderDispatch, String>,
}

const KNOWN: [KnownProvider; 6] = [
    known::<CUDA>("cuda"),
    known::<TensorRT>("tensorrt"),
    known::<OpenVINO>("openvino"),
    known::<XNNPACK>("xnnpack"),
    known::<QNN>("qnn"),
    KnownProvider {
        name: "acl",
        full: ACL::NAME,
        available: ACL::is_available,
        make: |options| match options.keys().next() {
            Some(key) => Err(format!("it has no option \"{key}\"")),
            None => Ok(ACL::default().into()),
        },
    },
];

const fn known<E>(name: &'static str) -> KnownProvider
where
    E: ExecutionProvider
        + ArbitrarilyConfigurableExecutionProvider
        + Default
        + Into<ExecutionProviderDispatch>,
{
    KnownProvider {
        name,
        full: E::NAME,
        available: E::is_available,
        make: |options| {
            let mut provider = E::default();
            for (key, value) in options {
                if key.contains('\0') || value.contains('\0') {
                    return Err(format!("its option {key:?} has a zero byte"));
                }
                provider = provider.with_arbitrary_config(key, value);
            }
            Ok(provider.into())
        },
    }
}

/// The providers of the loaded library.
pub(super) fn available() -> Vec<&'static str> {
    let has = |known: &&KnownProvider| guard(known.available).is_ok_and(|has| has.unwrap_or(false));
    let others = KNOWN.iter().filter(has).map(|known| known.name);
    std::iter::once(CPU).chain(others).collect()
}

/// A provider to try for a session.
pub(super) struct ProviderChoice {
    pub(super) name: &'static str,
    pub(super) dispatch: ExecutionProviderDispatch,
}

/// The configured providers that can be tried, and a note about each other one.
pub(super) fn choose(
    wanted: &[Provider],
    available: &[&str],
) -> (Vec<ProviderChoice>, Vec<String>) {
    let (mut choices, mut notes) = (Vec::new(), Vec::new());
    for provider in wanted {
        let name = provider.name.to_ascii_lowercase();
        if name == CPU || name == "cpuexecutionprovider" {
            break; // It runs every model, so that later ones are never used.
        }
        let known = KNOWN
            .iter()
            .find(|known| known.name == name || known.full.eq_ignore_ascii_case(&name));
        let choice = match known {
            None => Err(format!("it is unknown; known are {}", names())),
            Some(known) if !available.contains(&known.name) => {
                Err("the library was built without it".to_owned())
            }
            Some(known) => (known.make)(&provider.options).map(|dispatch| ProviderChoice {
                name: known.name,
                dispatch,
            }),
        };
        match choice {
            Ok(choice) => choices.push(choice),
            Err(problem) => notes.push(note(&provider.name, &problem)),
        }
    }
    (choices, notes)
}

/// Logs why a provider is not used, and returns it for the status.
pub(super) fn note(name: &str, problem: &str) -> String {
    tracing::warn!(provider = name, problem, "execution provider not used");
    format!("{name}: {problem}")
}

fn names() -> String {
    let others = KNOWN.iter().map(|known| known.name);
    std::iter::once(CPU)
        .chain(others)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PROVIDERS;

    #[test]
    fn all_that_can_be_asked_for_are_known() {
        let ours: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
        assert_eq!([&[CPU], ours.as_slice()].concat(), PROVIDERS);
        for name in KNOWN.iter().flat_map(|known| [known.name, known.full]) {
            let provider = Provider {
                name: name.to_owned(),
                options: BTreeMap::new(),
            };
            assert!(provider.is_known(), "{name}");
        }
    }
}
