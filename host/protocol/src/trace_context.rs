//! W3C trace context, in the attachment of a sample and of what a device makes of it.
//!
//! An attachment is the id of a sample, as it has always been. Where the sample belongs to a trace, lines follow the id, each a field of the
//! trace context: `traceparent: 00-...`, and `tracestate: ...` where there is one. The id may be empty. No id has a line feed, so that both
//! forms can be told apart.

use std::fmt;
use std::str::FromStr;

/// Most bytes of the lines after the id. Longer ones are not read.
pub const MAX_CONTEXT_BYTES: usize = 2 << 10;
/// Longest `tracestate` that is passed on, in bytes: what the recommendation asks for.
pub const MAX_STATE_BYTES: usize = 512;
/// The name of the field with ids and flags.
const PARENT: &str = "traceparent";
/// The name of the field of tracing systems.
const STATE: &str = "tracestate";
/// Length of a `traceparent` of version 00, in bytes.
const PARENT_BYTES: usize = 55;
/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;
/// The flags that are passed on: `sampled`, and `random` of level 2.
const KNOWN_FLAGS: u8 = 0b11;

/// A place in a trace: that of the caller, or of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The id of the trace, which is not all zeros.
    pub trace_id: [u8; 16],
    /// The id of the span, which is not all zeros.
    pub span_id: [u8; 8],
    /// The flags; see [`Self::is_sampled`].
    pub flags: u8,
    /// What tracing systems add, at most [`MAX_STATE_BYTES`]. It is passed on as it is.
    pub state: String,
}

/// A text that is not a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a `traceparent` of W3C trace context")]
pub struct NoTraceParent;

impl TraceContext {
    /// The start of a trace that is recorded.
    pub const fn root(trace_id: [u8; 16], span_id: [u8; 8]) -> Self {
        Self {
            trace_id,
            span_id,
            flags: SAMPLED,
            state: String::new(),
        }
    }

    /// A span of the same trace.
    #[must_use]
    pub fn child(&self, span_id: [u8; 8]) -> Self {
        Self {
            span_id,
            ..self.clone()
        }
    }

    /// Whether the caller records this trace.
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl FromStr for TraceContext {
    type Err = NoTraceParent;

    /// Parses a `traceparent`. Of a version after 00, the known fields are read.
    fn from_str(text: &str) -> Result<Self, NoTraceParent> {
        let (known, rest) = text
            .as_bytes()
            .split_at_checked(PARENT_BYTES)
            .ok_or(NoTraceParent)?;
        let version: [u8; 1] = hex(known.get(..2))?;
        let fits = match version {
            [0] => rest.is_empty(),
            [0xff] => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let is_separated = [2, 35, 52].iter().all(|at| known.get(*at) == Some(&b'-'));
        let context = Self {
            trace_id: hex(known.get(3..35))?,
            span_id: hex(known.get(36..52))?,
            flags: hex::<1>(known.get(53..))?[0] & KNOWN_FLAGS,
            state: String::new(),
        };
        let has_ids = context.trace_id != [0; 16] && context.span_id != [0; 8];
        (fits && is_separated && has_ids)
            .then_some(context)
            .ok_or(NoTraceParent)
    }
}

impl fmt::Display for TraceContext {
    /// The `traceparent` of version 00.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        self.trace_id
            .iter()
            .try_for_each(|it| write!(f, "{it:02x}"))?;
        f.write_str("-")?;
        self.span_id
            .iter()
            .try_for_each(|it| write!(f, "{it:02x}"))?;
        write!(f, "-{:02x}", self.flags)
    }
}

/// `N` bytes as lower-case hexadecimal digits.
fn hex<const N: usize>(text: Option<&[u8]>) -> Result<[u8; N], NoTraceParent> {
    let text = text
        .filter(|text| text.len() == 2 * N)
        .ok_or(NoTraceParent)?;
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.chunks(2)) {
        for digit in digits {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(NoTraceParent),
            };
            *byte = (*byte << 4) | value;
        }
    }
    Ok(bytes)
}

/// Divides an attachment into the id, `None` where it is left to the device, and the trace context. A context that is not valid is
/// ignored. Anything else is an id.
pub fn read_attachment(bytes: &[u8]) -> (Option<&[u8]>, Option<TraceContext>) {
    let end = bytes.iter().position(|it| *it == b'\n');
    let divided = end.and_then(|at| Some((bytes.get(..at)?, bytes.get(at + 1..)?)));
    let is_context = |lines| field_of(lines, PARENT).or(field_of(lines, STATE)).is_some();
    let Some((id, lines)) = divided.filter(|(_, lines)| is_context(lines)) else {
        return (Some(bytes), None);
    };
    let id = (!id.is_empty()).then_some(id);
    if lines.len() > MAX_CONTEXT_BYTES {
        return (id, None);
    }
    (id, std::str::from_utf8(lines).ok().and_then(read_context))
}

/// Reads lines of fields, in any order. Only one `traceparent` may be there.
fn read_context(lines: &str) -> Option<TraceContext> {
    let (mut context, mut state) = (None, "");
    for line in lines.lines() {
        if let Some(value) = field_of(line.as_bytes(), PARENT) {
            let parsed: TraceContext = value.trim().parse().ok()?;
            if context.replace(parsed).is_some() {
                return None;
            }
        } else if let Some(value) = field_of(line.as_bytes(), STATE) {
            state = value.trim();
        }
    }
    let is_plain = state.bytes().all(|it| (0x20..0x7f).contains(&it));
    let state = if is_plain && state.len() <= MAX_STATE_BYTES {
        state
    } else {
        ""
    };
    context.map(|context| TraceContext {
        state: state.to_owned(),
        ..context
    })
}

/// The first line's value, if its field has this name.
fn field_of<'a>(line: &'a [u8], name: &str) -> Option<&'a str> {
    let line = line.split(|it| *it == b'\n').next()?;
    let (found, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    found.eq_ignore_ascii_case(name).then_some(value)
}

/// The attachment of a sample with this id, or of what was made of it.
pub fn attachment(id: &str, context: Option<&TraceContext>) -> String {
    let Some(context) = context else {
        return id.to_owned();
    };
    let mut text = format!("{id}\n{PARENT}: {context}");
    if !context.state.is_empty() {
        text.push('\n');
        text.push_str(STATE);
        text.push_str(": ");
        text.push_str(&context.state);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    const PARENT_TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let context: TraceContext = PARENT_TEXT.parse().unwrap();
        assert_eq!(context.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!(
            context.span_id,
            [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]
        );
        assert!(context.is_sampled());
        assert_eq!(context.to_string(), PARENT_TEXT);
        let unsampled = PARENT_TEXT.replace("-01", "-00");
        let unsampled: TraceContext = unsampled.parse().unwrap();
        assert!(!unsampled.is_sampled());
        // Unknown flags are not passed on.
        let flags: TraceContext = PARENT_TEXT.replace("-01", "-fd").parse().unwrap();
        assert_eq!(flags.flags, 1);
        // A later version may have further fields.
        let later = format!("cc{}-what-comes", &PARENT_TEXT[2..]);
        assert_eq!(later.parse(), Ok(context));
    }

    #[test]
    fn what_is_not_a_traceparent_is_refused() {
        for text in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-000f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(NoTraceParent), "{text}");
        }
    }

    #[test]
    fn an_attachment_has_an_id_a_context_or_both() {
        let context: TraceContext = PARENT_TEXT.parse().unwrap();
        let both = format!("page-7\ntraceparent: {PARENT_TEXT}");
        assert_eq!(attachment("page-7", Some(&context)), both);
        assert_eq!(attachment("page-7", None), "page-7");
        let read = |text: &str| {
            let (id, context) = read_attachment(text.as_bytes());
            (id.map(<[u8]>::to_vec), context)
        };
        let id = Some(b"page-7".to_vec());
        assert_eq!(read("page-7"), (id.clone(), None));
        assert_eq!(read(&both), (id.clone(), Some(context.clone())));
        // The sender may leave the id to the device.
        let alone = format!("\nTraceparent:{PARENT_TEXT}\n");
        assert_eq!(read(&alone), (None, Some(context.clone())));
        // A malformed one is ignored, and so is one that is there twice.
        assert_eq!(read("page-7\ntraceparent: 00-x"), (id.clone(), None));
        let twice = format!("{both}\ntraceparent: {PARENT_TEXT}");
        assert_eq!(read(&twice), (id.clone(), None));
        let long = format!("{both}\n{}", "x".repeat(MAX_CONTEXT_BYTES));
        assert_eq!(read(&long), (id.clone(), None));
        // Lines of anything else are an id, which the intake refuses.
        assert_eq!(read("a\nb"), (Some(b"a\nb".to_vec()), None));
    }

    #[test]
    fn the_state_of_other_systems_is_passed_on() {
        let mut context: TraceContext = PARENT_TEXT.parse().unwrap();
        context.state = "vendor=1,other=2".to_owned();
        let text = attachment("a", Some(&context));
        assert!(text.ends_with("\ntracestate: vendor=1,other=2"), "{text}");
        assert_eq!(read_attachment(text.as_bytes()).1, Some(context.clone()));
        // Senders may write it first.
        let before = format!(
            "a\ntracestate: {}\ntraceparent: {PARENT_TEXT}",
            context.state
        );
        let (id, read) = read_attachment(before.as_bytes());
        assert_eq!((id, read), (Some(&b"a"[..]), Some(context)));
        assert_eq!(read_attachment(b"a\ntracestate: b=1").0, Some(&b"a"[..]));
        let long = format!(
            "a\ntraceparent: {PARENT_TEXT}\ntracestate: {}",
            "x".repeat(513)
        );
        assert_eq!(read_attachment(long.as_bytes()).1.unwrap().state, "");
    }

    proptest! {
        #[test]
        fn any_attachment_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (id, _) = read_attachment(&bytes);
            prop_assert!(id.is_none_or(|id| bytes.starts_with(id)));
        }

        #[test]
        fn what_is_written_is_read(id in "[a-z0-9-]{0,20}", trace_id: [u8; 16], span_id: [u8; 8], flags in 0_u8..4) {
            prop_assume!(trace_id != [0; 16] && span_id != [0; 8]);
            let context = TraceContext { trace_id, span_id, flags, state: String::new() };
            let text = attachment(&id, Some(&context));
            let (read, found) = read_attachment(text.as_bytes());
            prop_assert_eq!(read.unwrap_or_default(), id.as_bytes());
            prop_assert_eq!(found, Some(context));
        }
    }
}
