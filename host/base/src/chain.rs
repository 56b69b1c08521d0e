//! Chains of errors as one sentence.

/// An error and its causes as one sentence, `error: cause: cause`, without repetitions.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        // A transparent error has the text of its source.
        if next != last {
            text.push_str(": ");
            text.push_str(&next);
            last = next;
        }
        source = cause.source();
    }
    text
}
