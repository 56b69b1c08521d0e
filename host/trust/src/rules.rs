//! Rules that several parts of a release share: ranges, names, patterns, media types.

use crate::{limits::ReleaseLimits, release_error::ReleaseError};

/// Checks that each thing a component lists has its grant: whether it has, the thing, and the grant.
pub(crate) fn require_grants(
    component: &str,
    needs: impl IntoIterator<Item = (bool, &'static str, &'static str)>,
) -> Result<(), ReleaseError> {
    match needs.into_iter().find(|(met, ..)| !met) {
        None => Ok(()),
        Some((_, what, grant)) => Err(ReleaseError::Grant {
            component: component.to_owned(),
            what,
            grant,
        }),
    }
}

/// Checks that a value lies within `least` and `limit`.
pub(crate) fn within(what: &str, value: u64, least: u64, limit: u64) -> Result<(), ReleaseError> {
    if value < least || value > limit {
        return Err(ReleaseError::Limit {
            what: what.to_owned(),
            value,
            least,
            limit,
        });
    }
    Ok(())
}

/// Whether this can be a name: 1 to 64 of `a-z 0-9 - _ .`, beginning and ending with a letter or digit. Names become file names, metric
/// labels and key expressions, so that only characters which are safe in all of them are allowed.
pub fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends_are_plain = [name.bytes().next(), name.bytes().next_back()]
        .into_iter()
        .all(|b| b.is_some_and(plain));
    let all_are_known = name.bytes().all(|b| plain(b) || b"-_.".contains(&b));
    ends_are_plain && all_are_known && name.len() as u64 <= ReleaseLimits::NAME_CHARS
}

/// Refuses what [`is_name`] does not allow.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), ReleaseError> {
    if is_name(name) {
        return Ok(());
    }
    Err(ReleaseError::Name {
        what,
        name: name.chars().take(80).collect(),
    })
}

/// Checks that every pattern of device names is a glob.
pub(crate) fn check_globs(patterns: &[String]) -> Result<(), ReleaseError> {
    let most = ReleaseLimits::PATTERNS;
    within(
        "the number of device name patterns",
        patterns.len() as u64,
        0,
        most,
    )?;
    for pattern in patterns {
        within(
            "the length of a device name pattern",
            pattern.len() as u64,
            1,
            ReleaseLimits::PATTERN_BYTES,
        )?;
        globset::Glob::new(pattern).map_err(|e| ReleaseError::Glob {
            pattern: pattern.clone(),
            reason: e.kind().to_string(),
        })?;
    }
    Ok(())
}

/// `type/subtype` in the characters of RFC 6838, section 4.2, and at most 127 on each side of the slash.
pub(crate) fn is_media_type(text: &str) -> bool {
    let is_part = |part: &str| {
        (1..=127).contains(&part.len())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    text.split_once('/')
        .is_some_and(|(kind, subtype)| is_part(kind) && is_part(subtype))
}
