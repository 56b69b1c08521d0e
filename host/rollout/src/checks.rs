//! Checks that plans, statements, gates and counts share.

use hotshoe_trust::is_active;

use crate::error::RolloutError;

/// All devices, in millionths.
pub const WHOLE_PPM: u32 = 1_000_000;
/// Longest name of a site, a device or a release, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Checks that a value lies within `least` and `most`.
pub(crate) fn within(
    what: &'static str,
    value: u64,
    least: u64,
    most: u64,
) -> Result<(), RolloutError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(RolloutError::OutOfRange {
        what,
        value,
        least,
        most,
    })
}

/// Names become parts of key expressions and are shown on terminals.
pub(crate) fn check_text(what: &'static str, text: &str) -> Result<(), RolloutError> {
    check_without(what, text, |c| is_active(c) || "/*$?#".contains(c))
}

/// What is only shown on terminals, such as `mean(lines.*.score)`.
pub(crate) fn check_shown(what: &'static str, text: &str) -> Result<(), RolloutError> {
    check_without(what, text, is_active)
}

fn check_without(
    what: &'static str,
    text: &str,
    is_bad: impl Fn(char) -> bool,
) -> Result<(), RolloutError> {
    if (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.contains(is_bad) {
        return Ok(());
    }
    Err(RolloutError::Name {
        what,
        name: text.chars().take(80).collect(),
    })
}
