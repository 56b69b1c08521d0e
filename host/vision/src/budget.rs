//! What one call may use. Every public operation takes a [`Budget`], and nothing else decides about memory or time.

use std::cell::Cell;

use thiserror::Error;

/// Steps of work (about a pixel each) between two looks at the deadline: a few milliseconds at most.
const STEPS_BETWEEN_LOOKS: u64 = 1 << 20;

/// The memory and the time of one operation. Memory is counted before it is allocated: the result, what is in between, and tables.
pub struct Budget<'a> {
    max_bytes: u64,
    held_bytes: Cell<u64>,
    peak_bytes: Cell<u64>,
    /// Steps since the last look at the deadline.
    steps: Cell<u64>,
    refused: Cell<Option<BudgetError>>,
    is_over: &'a dyn Fn() -> bool,
}

/// Why an operation was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BudgetError {
    /// It needs more bytes than there are left. They were not allocated.
    #[error(
        "the operation needs {bytes} bytes more, and {left} of its {limit} are left; use a smaller picture, or raise the limit"
    )]
    Memory {
        /// Bytes that were asked for.
        bytes: u64,
        /// Bytes that were left.
        left: u64,
        /// Most bytes of the operation.
        limit: u64,
    },
    /// The machine has no memory for what the budget allows.
    #[error("the machine has no memory for {bytes} bytes more")]
    Allocation {
        /// Bytes that were asked for.
        bytes: u64,
    },
    /// The deadline passed.
    #[error("the deadline passed before the operation ended")]
    Deadline,
}

impl<'a> Budget<'a> {
    /// At most `max_bytes` at once, until `is_over` says that the time is over. It is asked every few milliseconds.
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

    /// Without an end, for pictures and sizes that come from nowhere outside. [`crate::MAX_PIXELS`] holds all the same.
    pub fn unlimited() -> Budget<'static> {
        Budget::new(u64::MAX, &|| false)
    }

    /// The most bytes that were counted at once so far.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes.get()
    }

    /// What was refused last. An error that passed through a library's code may have lost it.
    pub(crate) fn refused(&self) -> Option<BudgetError> {
        self.refused.get()
    }

    fn refuse(&self, error: BudgetError) -> BudgetError {
        self.refused.set(Some(error));
        error
    }

    /// Bytes that may still be taken.
    pub(crate) fn left(&self) -> u64 {
        self.max_bytes.saturating_sub(self.held_bytes.get())
    }

    /// Counts bytes until the claim is dropped.
    ///
    /// # Errors
    /// [`BudgetError::Memory`] where there are fewer left.
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

    /// An empty list with room for exactly `len` items, and the claim for it.
    pub(crate) fn list<T>(&self, len: usize) -> Result<(Vec<T>, Claim<'_>), BudgetError> {
        let claim = self.claim((len as u64).saturating_mul(size_of::<T>() as u64))?;
        let mut list = Vec::new();
        self.reserve(&mut list, len)?;
        Ok((list, claim))
    }

    /// Makes room for `more` items, which are counted already.
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

    /// Counts work that was done, about a step a pixel, and looks at the deadline where it adds up.
    pub(crate) fn spend(&self, steps: u64) -> Result<(), BudgetError> {
        let steps = self.steps.get().saturating_add(steps);
        if steps < STEPS_BETWEEN_LOOKS {
            self.steps.set(steps);
            return Ok(());
        }
        self.look()
    }

    /// Looks at the deadline now.
    pub(crate) fn look(&self) -> Result<(), BudgetError> {
        self.steps.set(0);
        if (self.is_over)() {
            return Err(self.refuse(BudgetError::Deadline));
        }
        Ok(())
    }
}

/// Bytes that are counted against a budget for as long as it lives.
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
