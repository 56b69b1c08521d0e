//! Computes the memory of an inference message from its bytes, before it is decoded: a field of 2 bytes may become a tensor of hundreds.
//! The encoding: <https://protobuf.dev/programming-guides/encoding/>.

/// The limits of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The number of fields: of the message, and of its inputs, outputs and contents. A field takes up to about 500 bytes.
    pub(crate) fields: usize,
    /// The bytes of all listed numbers together, with their width in memory.
    pub(crate) list_bytes: usize,
}

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the message is not the protobuf of an inference request")]
    Malformed,
    #[error(
        "the message has more than {limit} fields: inputs, outputs, parameters and elements; send tensors as raw contents"
    )]
    Fields { limit: usize },
    #[error(
        "the message's lists of numbers take more than {limit} bytes; send raw contents, or raise `oip.max-body-mib` if the device has the memory"
    )]
    Lists { limit: usize },
}

/// Checks the bytes of a `ModelInferRequest`. Strings and parameters may still be malformed.
///
/// # Errors
///
/// [`WireError`]: the message exceeds the limits, or is not a message.
pub(crate) fn check(bytes: &[u8], limits: Limits) -> Result<(), WireError> {
    let mut left = limits;
    left.walk(Message::Request, bytes)
        .map_err(|excess| match excess {
            Excess::Malformed => WireError::Malformed,
            Excess::Fields => WireError::Fields {
                limit: limits.fields,
            },
            Excess::Lists => WireError::Lists {
                limit: limits.list_bytes,
            },
        })
}

/// The messages whose fields are counted. The others have no repeated fields.
#[derive(Debug, Clone, Copy)]
enum Message {
    Request,
    Input,
    Output,
    Contents,
}

enum Excess {
    Malformed,
    Fields,
    Lists,
}

impl Limits {
    fn walk(&mut self, message: Message, mut bytes: &[u8]) -> Result<(), Excess> {
        while !bytes.is_empty() {
            self.fields = self.fields.checked_sub(1).ok_or(Excess::Fields)?;
            let key = varint(&mut bytes)?;
            match key & 7 {
                0 => {
                    varint(&mut bytes)?;
                }
                1 => {
                    take(&mut bytes, 8)?;
                }
                2 => {
                    let length = varint(&mut bytes)?;
                    let field = take(&mut bytes, length)?;
                    self.field(message, key >> 3, field)?;
                }
                5 => {
                    take(&mut bytes, 4)?;
                }
                // Groups, which the protocol does not use.
                _ => return Err(Excess::Malformed),
            }
        }
        Ok(())
    }

    /// A length-delimited field, by its number in `inference.proto`.
    fn field(&mut self, message: Message, number: u64, bytes: &[u8]) -> Result<(), Excess> {
        match (message, number) {
            (Message::Request, 5) => self.walk(Message::Input, bytes),
            (Message::Request, 6) => self.walk(Message::Output, bytes),
            (Message::Input, 5) => self.walk(Message::Contents, bytes),
            (Message::Input, 3) | (Message::Contents, 3 | 5) => self.list(varints(bytes), 8),
            (Message::Contents, 2 | 4) => self.list(varints(bytes), 4),
            (Message::Contents, 1) => self.list(varints(bytes), 1),
            (Message::Contents, 6 | 7) => self.list(bytes.len(), 1),
            _ => Ok(()),
        }
    }

    fn list(&mut self, count: usize, size: usize) -> Result<(), Excess> {
        let bytes = count.saturating_mul(size);
        self.list_bytes = self.list_bytes.checked_sub(bytes).ok_or(Excess::Lists)?;
        Ok(())
    }
}

/// The number of elements of a packed list: the last byte of each has no high bit.
fn varints(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte < 0x80).count()
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Excess> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Excess::Malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Excess::Malformed)
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], Excess> {
    let length = usize::try_from(length).map_err(|_| Excess::Malformed)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Excess::Malformed)?;
    *bytes = rest;
    Ok(taken)
}
