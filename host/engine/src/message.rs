/// Longest message of a component, in bytes; longer ones are cut.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4096;

/// Cuts a text to [`MAX_MESSAGE_BYTES`] at a character boundary.
pub(crate) fn clip(mut text: String) -> String {
    if text.len() > MAX_MESSAGE_BYTES {
        let end = text.floor_char_boundary(MAX_MESSAGE_BYTES);
        text.truncate(end);
    }
    text
}

/// The names, for a message.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}
