//! What the statements about one rollout come to. It merges: in any order, with losses and repetitions, the same statements give the
//! same control.

use hotshoe_store::Cause;
use hotshoe_trust::{Digest, Time};

use crate::{
    plan::Plan,
    signed::SignedStatement,
    statement::{Command, RolloutStatement},
    times::after,
};

/// The statements of one rollout, joined. The plan alone begins stage 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Control {
    stage: u32,
    last: Option<(Digest, RolloutStatement)>,
}

/// What applies now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive<'c> {
    /// The stages up to [`Control::stage`] run.
    Run,
    /// No device begins.
    Pause(&'c Cause),
    /// The rollout has ended.
    Abort(&'c Cause),
    /// The rollout has ended, and devices go back.
    Reverse(&'c Cause),
}

impl Control {
    /// Adds a statement; whether it changed anything.
    pub fn hear(&mut self, statement: &SignedStatement) -> bool {
        self.add(statement.digest(), statement)
    }

    /// Adds all that `other` has heard; whether it changed anything.
    pub fn merge(&mut self, other: &Self) -> bool {
        let risen = other.stage > self.stage;
        self.stage = self.stage.max(other.stage);
        let added = other.last.as_ref();
        added.is_some_and(|(digest, statement)| self.add(*digest, statement)) || risen
    }

    fn add(&mut self, digest: Digest, statement: &RolloutStatement) -> bool {
        let risen = statement.stage > self.stage;
        // A share never goes down: a stage that ran once stays.
        self.stage = self.stage.max(statement.stage);
        let is_greater = self
            .last
            .as_ref()
            .is_none_or(|(known, last)| last.rank(*known) < statement.rank(digest));
        if is_greater {
            self.last = Some((digest, statement.clone()));
        }
        risen || is_greater
    }

    /// The highest stage that runs, or ran.
    pub const fn stage(&self) -> u32 {
        self.stage
    }

    /// What applies now.
    pub fn directive(&self) -> Directive<'_> {
        match self.last.as_ref().map(|(_, last)| &last.command) {
            None | Some(Command::Advance {}) => Directive::Run,
            Some(Command::Pause { cause }) => Directive::Pause(cause),
            Some(Command::Abort { cause }) => Directive::Abort(cause),
            Some(Command::Reverse { cause, .. }) => Directive::Reverse(cause),
        }
    }

    /// Whether this command is the one that applies.
    pub fn directive_is(&self, command: &Command) -> bool {
        match &self.last {
            Some((_, last)) => last.command == *command,
            None => matches!(command, Command::Advance {}),
        }
    }

    /// Whether those that hear later need this statement, which this control has heard: the greatest, and one of the highest stage if
    /// the greatest is of a lower one.
    pub fn needs(&self, statement: &SignedStatement) -> bool {
        let Some((digest, greatest)) = &self.last else {
            return false;
        };
        let is_of_stage = statement.stage == self.stage && greatest.stage < self.stage;
        *digest == statement.digest() || is_of_stage
    }

    /// The number of the next statement.
    pub fn next_number(&self) -> u64 {
        let last = self.last.as_ref().map_or(0, |(_, last)| last.number);
        last.saturating_add(1)
    }

    /// When a stage began, or went on if it is the highest: never before the signed watch times allow, whatever a statement says.
    pub fn began(&self, plan: &Plan, stage: u32) -> Time {
        let earliest = after(plan.issued, plan.earliest_s(stage));
        match &self.last {
            Some((_, last)) if stage == self.stage => last.issued.max(earliest),
            _ => earliest,
        }
    }
}
