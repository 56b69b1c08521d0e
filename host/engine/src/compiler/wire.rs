//! Protocol between the two processes: a line of JSON and the component as the request, then one response.

use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use super::Codegen;
use crate::code::{Code, DIGEST_LENGTH};

/// Longest first line of a request, in bytes.
const MAX_REQUEST_BYTES: u64 = 4096;
/// Longest refusal, in bytes: messages of the compiler may repeat names of the component.
pub(super) const MAX_REFUSAL_BYTES: u64 = 512 << 10;

/// First byte of a response.
const CODE: u8 = b'C';
const REFUSAL: u8 = b'R';

/// Header of a request; the component follows.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) codegen: Codegen,
    pub(super) memory_mib: u64,
    pub(super) cpu_seconds: u64,
    /// Bytes of the component.
    pub(super) bytes: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Response {
    Code(Code),
    /// The compiler's error, outermost message first.
    Refusal(Vec<String>),
    /// The size of the code in bytes, which is above the limit. The code has not been read.
    TooLarge(u64),
}

impl Request {
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *to, self)?;
        to.write_all(b"\n")
    }

    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut line = Vec::new();
        from.take(MAX_REQUEST_BYTES).read_until(b'\n', &mut line)?;
        Ok(serde_json::from_slice(&line)?)
    }
}

impl Response {
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Code(code) => {
                head(to, CODE, code.bytes().len())?;
                to.write_all(code.digest())?;
                to.write_all(code.bytes())?;
            }
            Self::Refusal(messages) => {
                let text = serde_json::to_vec(messages)?;
                head(to, REFUSAL, text.len())?;
                to.write_all(&text)?;
            }
            // Only the reader creates it.
            Self::TooLarge(_) => return Err(damaged()),
        }
        to.flush()
    }

    /// Reads a response with at most `most` bytes of code.
    pub(super) fn read(from: &mut impl Read, most: u64) -> io::Result<Self> {
        let mut kind = [0];
        from.read_exact(&mut kind)?;
        let mut length = [0; 8];
        from.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        match kind {
            [CODE] if length <= most => {
                let mut digest = [0; DIGEST_LENGTH];
                from.read_exact(&mut digest)?;
                let code = Code::new(exactly(from, length)?);
                if code.digest() == digest {
                    Ok(Self::Code(code))
                } else {
                    Err(damaged())
                }
            }
            [CODE] => Ok(Self::TooLarge(length)),
            [REFUSAL] if length <= MAX_REFUSAL_BYTES => {
                let text = exactly(from, length)?;
                Ok(Self::Refusal(serde_json::from_slice(&text)?))
            }
            _ => Err(damaged()),
        }
    }
}

fn head(to: &mut impl Write, kind: u8, length: usize) -> io::Result<()> {
    to.write_all(&[kind])?;
    to.write_all(&(length as u64).to_le_bytes())
}

/// Reads exactly `length` bytes; fails also if there is not enough memory for them.
pub(super) fn exactly(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let wanted = usize::try_from(length).map_err(|_| damaged())?;
    bytes
        .try_reserve_exact(wanted)
        .map_err(|_| io::ErrorKind::OutOfMemory)?;
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() == wanted {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn damaged() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::memory::MemoryMode;

    #[test]
    fn what_is_written_is_read_back() {
        let request = Request {
            codegen: Codegen {
                fuel: true,
                mode: MemoryMode::Compact,
            },
            memory_mib: 1,
            cpu_seconds: 2,
            bytes: 3,
        };
        let mut written = Vec::new();
        request.write(&mut written).unwrap();
        written.extend(b"abc");
        let mut rest = written.as_slice();
        assert_eq!(Request::read(&mut rest).unwrap(), request);
        assert_eq!(rest, b"abc");

        let answers = [
            Response::Code(Code::new(b"code".to_vec())),
            Response::Refusal(vec!["near".to_owned(), "deep".to_owned()]),
        ];
        for answer in answers {
            let mut written = Vec::new();
            answer.write(&mut written).unwrap();
            assert_eq!(Response::read(&mut written.as_slice(), 4).unwrap(), answer);
        }
    }

    #[test]
    fn an_answer_that_is_cut_off_changed_or_too_long_is_none() {
        let mut written = Vec::new();
        let answer = Response::Code(Code::new(b"code".to_vec()));
        answer.write(&mut written).unwrap();
        for end in 0..written.len() {
            assert!(Response::read(&mut &written[..end], 4).is_err(), "{end}");
        }
        for at in 0..written.len() {
            let mut changed = written.clone();
            changed[at] ^= 1;
            let read = Response::read(&mut changed.as_slice(), 4);
            assert!(!matches!(read, Ok(Response::Code(_))), "{at}");
        }
        let large = Response::read(&mut written.as_slice(), 3).unwrap();
        assert_eq!(large, Response::TooLarge(4));
        // Lengths that no memory has room for are not reserved.
        let mut huge = vec![CODE];
        huge.extend(u64::MAX.to_le_bytes());
        huge.extend([0; DIGEST_LENGTH]);
        assert!(Response::read(&mut huge.as_slice(), u64::MAX).is_err());
    }
}
