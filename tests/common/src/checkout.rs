use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hotshoe_devkit::{Environment, Extra, Progress, fetch, find_root, set_up};

use crate::skip::{Need, skip};

/// The checkout's root.
pub fn root() -> PathBuf {
    find_root(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("a checkout")
}

/// Models, pictures and components, set up once for all tests of a binary.
pub fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT
        .get_or_init(|| set_up(&root(), &Progress::plain()).expect("fixtures and components"))
}

/// A file or folder that some tests need, or `None` where it cannot be fetched: then the test is skipped.
pub fn extra(extra: Extra) -> Option<PathBuf> {
    let need = match extra {
        Extra::OnnxRuntime => Need::OnnxRuntime,
        _ => Need::Fixtures,
    };
    fetch(&root(), extra, &Progress::plain())
        .map_err(|error| skip(need, &format!("{extra:?}: {error}")))
        .ok()
}
