//! A reader for decoders that checks the deadline.

use std::io::{BufRead, Cursor, Read, Result, Seek, SeekFrom};
use std::panic;

use crate::Budget;

/// Reads between two checks of the deadline. One read of 4 bytes may encode tens of thousands of blocks of a JPEG file.
const READS_BETWEEN_LOOKS: u32 = 64;

/// Stops the decoder at the deadline. Decoders continue after an error of their reader, so it unwinds instead, and `decode` catches it.
pub(super) struct Reader<'a> {
    bytes: Cursor<&'a [u8]>,
    budget: &'a Budget<'a>,
    reads: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], budget: &'a Budget<'a>) -> Self {
        Self {
            bytes: Cursor::new(bytes),
            budget,
            reads: 0,
        }
    }

    #[inline]
    fn count(&mut self) {
        self.reads += 1;
        if self.reads == READS_BETWEEN_LOOKS {
            self.look();
        }
    }

    #[cold]
    fn look(&mut self) {
        self.reads = 0;
        if let Err(error) = self.budget.look() {
            panic::resume_unwind(Box::new(error));
        }
    }
}

impl Read for Reader<'_> {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.count();
        self.bytes.read(buffer)
    }
}

impl BufRead for Reader<'_> {
    #[inline]
    fn fill_buf(&mut self) -> Result<&[u8]> {
        self.count();
        self.bytes.fill_buf()
    }

    #[inline]
    fn consume(&mut self, amount: usize) {
        self.bytes.consume(amount);
    }
}

impl Seek for Reader<'_> {
    #[inline]
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.bytes.seek(to)
    }
}
