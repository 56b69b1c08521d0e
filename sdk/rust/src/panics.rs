//! Sends the message of a panic to the host, which needs no grant.

use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use crate::Tensor;

/// No tensor has this shape. The host takes its elements as the reason for the trap that follows.
const FAULT_SHAPE: [u32; 2] = [u32::MAX; 2];

/// Messages of the standard library about what it lacks without WASI, and what to do instead.
const ADVICE: [(&str, &str); 3] = [
    (
        "time not implemented on this platform",
        "call `hotshoe_sdk::clock` with the grant `clock`, or build with `--target wasip2` and grant `wasi`",
    ),
    (
        "can't sleep",
        "a component cannot sleep; with `--target wasip2` and the grant `wasi` it can, within `deadline-ms`",
    ),
    (
        "operation not supported on this platform",
        "a component has one thread; it has files only with `--target wasip2` and the grant `wasi`",
    ),
];

/// Makes every panic from now on report its text, file and line.
pub fn report() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            before(info);
            // The host refuses the shape, and keeps the text.
            let _ = Tensor::from_u8(&FAULT_SHAPE, text(info).as_bytes());
        }));
    });
}

fn text(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let said = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not text");
    let place = info.location().map_or_else(String::new, |place| {
        format!(" ({}:{})", place.file(), place.line())
    });
    format!("{said}{place}{}", advice(said))
}

fn advice(said: &str) -> String {
    let found = ADVICE.iter().find(|(text, _)| said.contains(text));
    found.map_or_else(String::new, |(_, what)| format!("; {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_standard_library_lacks_without_wasi_has_advice() {
        let spawn = "failed to spawn thread: Error { kind: Unsupported, message: \"operation not supported on this platform\" }";
        assert!(advice(spawn).contains("one thread"));
        assert!(advice("time not implemented on this platform").contains("hotshoe_sdk::clock"));
        assert_eq!(advice("index out of bounds"), "");
    }
}
