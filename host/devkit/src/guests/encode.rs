//! Encodes a core module of rustc as a component.
use super::GuestError;
use crate::interface::interface;
use wit_component::ComponentEncoder;

/// Encodes and validates a component. Returns its bytes and the names of its imports.
pub(super) fn component(name: &str, module: &[u8]) -> Result<(Vec<u8>, Vec<String>), GuestError> {
    let refused = |message: String| GuestError::Encode {
        component: name.to_owned(),
        message,
    };
    let bytes = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| refused(format!("{error:#}")))?;
    let imports = interface(&bytes)
        .map_err(|error| refused(error.to_string()))?
        .imports;
    match imports.iter().find(|import| is_refused_wasi(import)) {
        Some(import) => Err(GuestError::ImportsWasi {
            component: name.to_owned(),
            import: import.clone(),
        }),
        None => Ok((bytes, imports)),
    }
}

fn is_refused_wasi(import: &str) -> bool {
    import.starts_with("wasi") && !import.starts_with("wasi:nn/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_a_module_are_refused() {
        let error = component("policy", b"not wasm")
            .map(drop)
            .map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.starts_with("policy cannot be encoded")));
    }

    #[test]
    fn only_wasi_nn_may_be_imported() {
        assert!(is_refused_wasi("wasi:cli/environment@0.2.0"));
        assert!(is_refused_wasi("wasi_snapshot_preview1"));
        assert!(!is_refused_wasi("wasi:nn/graph@0.2.0-rc-2024-10-28"));
        assert!(!is_refused_wasi("hotshoe:pipeline/log@0.1.0"));
    }
}
