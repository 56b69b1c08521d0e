//! Texts that other programs wrote.

/// UTF-8's byte order mark, which some editors put at the beginning of a file.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A text without the byte order mark at its beginning, if it has one.
pub fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_mark_is_left_out() {
        assert_eq!(without_byte_order_mark(b"\xef\xbb\xbf{}"), b"{}");
        assert_eq!(
            without_byte_order_mark(b"{\xef\xbb\xbf}"),
            b"{\xef\xbb\xbf}"
        );
        assert_eq!(without_byte_order_mark(b""), b"");
    }
}
