//! Escaping of untrusted text for terminals, logs and reports.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal acts on a character instead of showing it, or shows what follows it in another order: control characters (ESC, and C1's
/// CSI and OSC among them), the directional characters of UAX #9, line and paragraph separators, and the invisible tag characters.
pub const fn is_active(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with each [active](is_active) character written out as Rust does, `\u{1b}`; `\n` and `\t` stay where `keep` says so.
pub fn printable(text: &str, keep: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_active(c) && !keep.contains(&c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// JSON with each active character in its strings escaped, as `\u001b`: the value is the same. Between strings JSON has only blanks
/// and line ends, which stay.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let is_white = |c| matches!(c, '\n' | '\r' | '\t');
    if !json.chars().any(|c| is_active(c) && !is_white(c)) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_active(c) && !is_white(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_written_out() {
        for (text, shown) in [
            (
                "caf\u{e9} \u{4e2d}\u{6587} \u{1f600}",
                "caf\u{e9} \u{4e2d}\u{6587} \u{1f600}",
            ),
            ("\u{1b}]0;x\u{7}", "\\u{1b}]0;x\\u{7}"),
            ("a\u{9b}2Jb", "a\\u{9b}2Jb"),
            ("x\u{202e}gpj.exe", "x\\u{202e}gpj.exe"),
            ("one\u{2028}two\r\n", "one\\u{2028}two\\r\\n"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(printable(text, &[]), shown);
            assert_eq!(printable(shown, &[]), shown);
        }
        assert_eq!(printable("a\n\tb\r", &['\n', '\t']), "a\n\tb\\r");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ "a\u{9b}": "\u{202e}\u{1b}\u{e0041}\u{7f}\n" });
        let json = serde_json::to_string_pretty(&value).unwrap();
        let shown = printable_json(&json);
        assert!(!shown.chars().any(|c| is_active(c) && c != '\n'), "{shown}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
        assert!(matches!(printable_json("{\n}"), Cow::Borrowed(_)));
    }
}
