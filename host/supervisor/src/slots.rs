//! The slots: which program is live, on trial, or failed. Pure: what happened goes in, the next record comes out.

use std::fmt;

use hotshoe_trust::{Blob, Digest};
use serde::{Deserialize, Serialize};

/// Most starts of one trial.
const MAX_STARTS: u32 = 100;

/// One of the two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotName {
    /// The first.
    A,
    /// The second.
    B,
}

impl SlotName {
    /// The other slot.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The name of its file.
    pub const fn file(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file())
    }
}

/// A program in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Installed {
    /// Its slot.
    pub slot: SlotName,
    /// Its bytes.
    pub program: Blob,
}

/// A program that is not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Trial {
    /// The program.
    pub installed: Installed,
    /// Further starts in which it may run unconfirmed.
    pub starts_left: u32,
    /// Time from a start to the confirmation, in seconds.
    pub deadline_s: u64,
}

/// The last program that was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Failed {
    /// The number of its order.
    pub number: u64,
    /// Its digest.
    pub program: Digest,
    /// The stable name of the reason.
    pub cause: String,
}

/// An order to try a program. Its bytes are in the slot already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Wanted {
    /// The number of the order, above that of the last one.
    pub number: u64,
    /// The program.
    pub installed: Installed,
    /// Starts in which it may run unconfirmed.
    pub starts: u32,
    /// Time from a start to the confirmation, in seconds.
    pub deadline_s: u64,
}

/// What happened to the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// The daemon orders a trial.
    Wanted(Wanted),
    /// The trial is about to be started.
    Started,
    /// The daemon says that the trial of this order is good.
    Confirmed(u64),
    /// The daemon says that the trial of this order is not good.
    Refused(u64),
    /// The trial was given up, with this stable name.
    GaveUp(&'static str),
    /// The program in a slot is not what was put there.
    Damaged(SlotName),
}

/// What is to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The trial.
    Trial(Trial),
    /// The live program, or the one before it if that is damaged.
    Confirmed(Installed),
    /// The program that the supervisor was given: there is no other.
    Given,
}

/// The record of the slots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Slots {
    /// The number of the last order that was taken.
    pub taken: u64,
    /// The confirmed program. `None`: the one that the supervisor was given.
    pub live: Option<Installed>,
    /// The program before it, until a trial takes its slot.
    pub previous: Option<Installed>,
    /// The program on trial.
    pub trial: Option<Trial>,
    /// The last program that was not confirmed.
    pub failed: Option<Failed>,
}

impl Slots {
    /// The slot that a new program may be put into: it is not that of the live one.
    pub const fn free(&self) -> SlotName {
        match self.live {
            Some(live) => live.slot.other(),
            None => SlotName::A,
        }
    }

    /// What is to be started. A trial without a start left is not: it is given up first.
    pub fn choice(&self) -> Choice {
        let confirmed = self.live.or(self.previous);
        match (self.trial, confirmed) {
            (Some(trial), _) if trial.starts_left > 0 => Choice::Trial(trial),
            (_, Some(installed)) => Choice::Confirmed(installed),
            (_, None) => Choice::Given,
        }
    }

    /// Whether the trial has used up its starts.
    pub fn is_used_up(&self) -> bool {
        self.trial.is_some_and(|trial| trial.starts_left == 0)
    }

    /// The slots after something happened. What does not fit the slots changes nothing but the number of the last order.
    #[must_use]
    pub fn after(&self, happened: Happened) -> Self {
        let mut next = self.clone();
        match happened {
            Happened::Wanted(wanted) => next.take(wanted),
            Happened::Started => {
                if let Some(trial) = &mut next.trial {
                    trial.starts_left = trial.starts_left.saturating_sub(1);
                }
            }
            Happened::Confirmed(number) => {
                if number == self.taken
                    && let Some(trial) = next.trial.take()
                {
                    next.previous = next.live.replace(trial.installed);
                }
            }
            Happened::Refused(number) if number == self.taken => next.give_up("refused"),
            Happened::Refused(_) => {}
            Happened::GaveUp(cause) => next.give_up(cause),
            Happened::Damaged(slot) => {
                let is_there = |it: &mut Installed| it.slot == slot;
                next.live.take_if(is_there);
                next.previous.take_if(is_there);
                if next.trial.is_some_and(|trial| trial.installed.slot == slot) {
                    next.give_up("damaged");
                }
            }
        }
        next
    }

    fn take(&mut self, wanted: Wanted) {
        if wanted.number <= self.taken {
            return;
        }
        self.taken = wanted.number;
        let slot = wanted.installed.slot;
        if self.trial.is_some() || self.live.is_some_and(|live| live.slot == slot) {
            return;
        }
        self.previous.take_if(|previous| previous.slot == slot);
        self.trial = Some(Trial {
            installed: wanted.installed,
            starts_left: wanted.starts.clamp(1, MAX_STARTS),
            deadline_s: wanted.deadline_s,
        });
    }

    fn give_up(&mut self, cause: &str) {
        if let Some(trial) = self.trial.take() {
            self.failed = Some(Failed {
                number: self.taken,
                program: trial.installed.program.digest,
                cause: cause.to_owned(),
            });
        }
    }
}
