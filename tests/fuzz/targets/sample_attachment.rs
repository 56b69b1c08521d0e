//! Attachments of samples: an id, and the trace context of the sender.
#![no_main]

// The file alone: its crate would bring more that is built with instrumentation.
#[allow(dead_code, reason = "it uses a part of it")]
#[path = "../../../host/protocol/src/trace_context.rs"]
mod trace_context;

use libfuzzer_sys::fuzz_target;
use trace_context::{MAX_STATE_BYTES, attachment, read_attachment};

fuzz_target!(|data: &[u8]| {
    let (id, context) = read_attachment(data);
    let id = id.unwrap_or_default();
    assert!(data.starts_with(id));
    let Some(context) = context else {
        return;
    };
    assert!(!id.contains(&b'\n'));
    assert!(context.trace_id != [0; 16] && context.span_id != [0; 8]);
    assert!(context.state.len() <= MAX_STATE_BYTES);
    // What goes out is read as the same.
    let Ok(id) = std::str::from_utf8(id) else {
        return;
    };
    let again = attachment(id, Some(&context.child([1; 8])));
    let (read, passed_on) = read_attachment(again.as_bytes());
    assert_eq!(read.unwrap_or_default(), id.as_bytes());
    assert_eq!(passed_on, Some(context.child([1; 8])));
});
