//! Conversion of backend panics into errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`; the error is the message of its panic. Borrowed state must be consistent wherever `work` may panic, which
/// is true for all callers: models and plans do not change, and a session of ONNX Runtime changes only in code that cannot panic.
pub(crate) fn guard<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message")
            .to_owned()
    })
}
