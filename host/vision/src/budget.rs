//! Memory and time of one operation. Every public operation takes a [`Budget`].

use std::cell::Cell;

use thiserror::Error;

/// Steps of work (about a pixel each) between two checks of the deadline: a few milliseconds at most.
const STEPS_BETWEEN_LOOKS: u64 = 1 << 20;

/// The memory and time limit of one operation. Memory is counted before it is allocated: the result, intermediate pictures, and tables.
pub struct Budget<'a> {
    max_bytes: u64,
    held_bytes: Cell<u64>,
    peak_bytes: Cell<u64>,
    /// Steps since the last check of the deadline.
    steps: Cell<u64>,
    refused: Cell<Option<BudgetError>>,
    is_over: &'a dyn Fn() -> bool,
}

/// Why an operation was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BudgetError {
    /// It needs more bytes than are left. They were not allocated.
    #[error(
        "the operation needs {bytes} bytes more, but {left} of its {limit} are left; use a smaller picture, or raise the limit"
    )]
    Memory {
        /// Bytes requested.
        bytes: u64,
        /// Bytes left.
        left: u64,
        /// Most bytes of the operation.
        limit: u64,
    },
    /// The system is out of memory, although the budget allows more.
    #[error("the system does not have {bytes} bytes more")]
    Allocation {
        /// Bytes requested.
        bytes: u64,
    },
    /// The deadline passed.
    #[error("the deadline passed before the operation ended")]
    Deadline,
}

impl<'a> Budget<'a> {
    /// At most `max_bytes` at once, until `is_over` returns true. It is called every few milliseconds.
    pub fn new(max_bytes: u64, is_over: &'a dyn Fn() -> bool) -> Self {
        Self {
            max_bytes,
            held_bytes: Cell::new(0),
            peak_bytes: Cell::new(0),
            steps: Cell::new(0),
            refused: Cell::new(None),
            is_over,
        }
    }

    /// Without limits, for trusted pictures and sizes. [`crate::MAX_PIXELS`] applies.
    pub fn unlimited() -> Budget<'static> {
        Budget::new(u64::MAX, &|| false)
    }

    /// Peak of counted bytes so far.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes.get()
    }

    /// The last refusal, which an error from a library may have lost.
    pub(crate) fn refused(&self) -> Option<BudgetError> {
        self.refused.get()
    }

    fn refuse(&self, error: BudgetError) -> BudgetError {
        self.refused.set(Some(error));
        error
    }

    /// Remaining bytes.
    pub(crate) fn left(&self) -> u64 {
        self.max_bytes.saturating_sub(self.held_bytes.get())
    }

    /// Counts bytes until the claim is dropped.
    ///
    /// # Errors
    /// [`BudgetError::Memory`] if fewer are left.
    pub fn claim(&self, bytes: u64) -> Result<Claim<'_>, BudgetError> {
        let left = self.left();
        if bytes > left {
            let limit = self.max_bytes;
            return Err(self.refuse(BudgetError::Memory { bytes, left, limit }));
        }
        let held = self.held_bytes.get() + bytes;
        self.held_bytes.set(held);
        self.peak_bytes.set(self.peak_bytes.get().max(held));
        Ok(Claim {
            held: &self.held_bytes,
            bytes,
        })
    }

    /// An empty list with capacity for exactly `len` items, and its claim.
    pub(crate) fn list<T>(&self, len: usize) -> Result<(Vec<T>, Claim<'_>), BudgetError> {
        let claim = self.claim((len as u64).saturating_mul(size_of::<T>() as u64))?;
        let mut list = Vec::new();
        self.reserve(&mut list, len)?;
        Ok((list, claim))
    }

    /// Reserves capacity for `more` items, which are already counted.
    pub(crate) fn reserve<T>(&self, list: &mut Vec<T>, more: usize) -> Result<(), BudgetError> {
        list.try_reserve_exact(more).map_err(|_| {
            let bytes = (more as u64).saturating_mul(size_of::<T>() as u64);
            self.refuse(BudgetError::Allocation { bytes })
        })
    }

    /// As [`Self::list`], full of zeros.
    pub(crate) fn zeros<T: Default + Clone>(
        &self,
        len: usize,
    ) -> Result<(Vec<T>, Claim<'_>), BudgetError> {
        let (mut list, claim) = self.list(len)?;
        list.resize(len, T::default());
        Ok((list, claim))
    }

    /// Counts completed work, about one step per pixel, and checks the deadline at intervals.
    pub(crate) fn spend(&self, steps: u64) -> Result<(), BudgetError> {
        let steps = self.steps.get().saturating_add(steps);
        if steps < STEPS_BETWEEN_LOOKS {
            self.steps.set(steps);
            return Ok(());
        }
        self.look()
    }

    /// Checks the deadline now.
    pub(crate) fn look(&self) -> Result<(), BudgetError> {
        self.steps.set(0);
        if (self.is_over)() {
            return Err(self.refuse(BudgetError::Deadline));
        }
        Ok(())
    }
}

/// Bytes that count against a budget while this exists.
#[must_use]
pub struct Claim<'b> {
    held: &'b Cell<u64>,
    bytes: u64,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.held.set(self.held.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn bytes_end_at_the_limit_and_come_back() {
        let budget = Budget::new(10, &|| false);
        let (list, claim) = budget.zeros::<u16>(4).unwrap();
        assert_eq!((list.len(), budget.left()), (4, 2));
        let refused = BudgetError::Memory {
            bytes: 3,
            left: 2,
            limit: 10,
        };
        assert_eq!(budget.claim(3).err(), Some(refused));
        drop(claim);
        assert_eq!((budget.left(), budget.peak_bytes()), (10, 8));
        // More than any machine has, and no abort.
        let budget = Budget::unlimited();
        let bytes = isize::MAX as u64 - 1;
        let refused = budget.list::<u16>(bytes as usize / 2).err();
        assert_eq!(refused, Some(BudgetError::Allocation { bytes }));
    }

    #[test]
    fn the_deadline_is_looked_at_where_work_adds_up() {
        let looks = Cell::new(0);
        let is_over = || looks.replace(looks.get() + 1) == 2;
        let budget = Budget::new(0, &is_over);
        for _ in 0..4 {
            budget.spend(STEPS_BETWEEN_LOOKS / 2).unwrap();
        }
        assert_eq!(looks.get(), 2);
        budget.spend(STEPS_BETWEEN_LOOKS - 1).unwrap();
        assert_eq!(budget.spend(u64::MAX), Err(BudgetError::Deadline));
    }
}
