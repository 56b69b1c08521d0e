//! Transitions: the only way to change a ledger. Pure.

use std::collections::BTreeMap;

use hotshoe_trust::{Digest, Time};

use crate::{
    illegal_transition::IllegalTransition,
    ledger::{Event, FailedRelease, FloorEntry, Ledger, Slot, Trial, TrustEntry},
    phase::{Cause, Phase},
};

/// Events that the history keeps.
const HISTORY: usize = 100;
/// The name of an [`Event`] about the trusted keys; no release can have it.
pub const TRUST: &str = "@trust";
/// Release names whose newest statement is remembered.
const STATEMENTS: usize = 1000;

/// A change of the ledger. Each is one durable commit; see [`crate::Store::apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// `hotshoe install`: the release, issued at that time, is live at once and the floor rises to it. The live release becomes
    /// previous. A staged release or a trial of the same name that is not newer is dropped.
    Install(Slot, Time),
    /// A verified release, issued at that time, whose blobs are all on disk, is staged. It replaces an older staged release. The
    /// clock floor rises to its issue time; the floor of generations does not rise yet.
    Stage {
        /// The release.
        slot: Slot,
        /// When it was issued.
        issued: Time,
        /// Whether its trial begins as soon as possible, without a further order.
        activate: bool,
    },
    /// The trial of the staged release begins as soon as possible.
    Activate,
    /// The staged release is about to be loaded and tested. It is recorded before, so that a release that crashes the daemon
    /// fails after some starts.
    BeginProof,
    /// Loading and testing has ended without a crash of the daemon.
    EndProof,
    /// The staged release is dropped.
    Unstage(Cause),
    /// The trial of the staged release begins. Recorded before the swap. After `tries` further starts of the daemon without a
    /// confirmation it is rolled back; clamped to [`Trial::MAX_TRIES`].
    BeginTrial {
        /// Further starts in which the unconfirmed trial may serve.
        tries: u32,
    },
    /// The daemon starts with an unconfirmed trial, which uses one of its tries. Recorded before the trial serves again. With no
    /// tries left it must be rolled back.
    TryAgain,
    /// The trial is confirmed: it becomes live, the live release becomes previous, and the floor rises to it.
    Confirm,
    /// The trial failed: it is dropped and remembered as failed, and the live release serves.
    RollBack(Cause),
    /// A verified release was refused, or failed, before any trial; it is remembered as failed. The phase is
    /// [`Phase::Refused`] or [`Phase::Failed`]. Its name and generation must be signed, since remembering an unsigned claim could
    /// block a name for good.
    Fail(Slot, Phase, Cause),
    /// A rollback by an operator: the live and the previous release are swapped. The old live release is remembered as rolled
    /// back, and a failure of the new one is forgotten. The floor stays, since both releases were accepted before. A rollback to a
    /// release that was itself rolled back is refused: a second rollback would undo the first.
    GoBack(Cause),
    /// The live release can no longer be loaded: the previous one becomes live, and the damaged one is dropped. It is not
    /// remembered as failed, so that it can be delivered again.
    Recover(Cause),
    /// The live release is damaged on disk, and the previous one cannot serve either: the damaged one is dropped. It is not
    /// remembered as failed, so that it can be delivered again.
    DropLive(Cause),
    /// The remembered failure of one release is forgotten, so that it can be delivered again. Floors stay.
    Forgive {
        /// The release's name.
        name: String,
        /// The digest of its manifest.
        release: Digest,
        /// By whom.
        cause: Cause,
    },
    /// An operator lowers a floor: older generations of a name are accepted again, and a failure of that name at or above the new
    /// floor is forgotten.
    LowerFloor {
        /// The release's name.
        name: String,
        /// The new floor.
        generation: u64,
    },
    /// A new version of the trusted keys, which the history shows under the name [`TRUST`], and which may set floors:
    /// recovery from a stolen key that signed a huge generation. A failure of such a name at or above its new floor is forgotten.
    ReplaceTrust {
        /// The version, above the present one.
        version: u64,
        /// The blob that holds its text.
        file: Digest,
        /// The new floors, by release name.
        resets: BTreeMap<String, u64>,
    },
    /// Records the newest statement about a name, so that older ones are refused.
    StatementSeen {
        /// The release's name.
        name: String,
        /// When the statement was issued.
        issued: Time,
    },
}

impl Ledger {
    /// The ledger after `transition` at `now`, by the device's clock.
    ///
    /// # Errors
    /// [`IllegalTransition`] if it is not allowed now.
    pub fn after(&self, transition: &Transition, now: Time) -> Result<Self, IllegalTransition> {
        let mut next = self.clone();
        match transition {
            Transition::Install(slot, issued) => next.install(slot, *issued, now)?,
            Transition::Stage {
                slot,
                issued,
                activate,
            } => next.stage(slot, *issued, *activate, now)?,
            Transition::Activate => {
                let staged = next.staged.as_ref();
                let staged = staged.ok_or(IllegalTransition::NothingStaged)?;
                next.activate = Some(staged.release);
            }
            Transition::BeginProof | Transition::EndProof => {
                if next.staged.is_none() {
                    return Err(IllegalTransition::NothingStaged);
                }
                next.proofs = match transition {
                    Transition::BeginProof => next.proofs.saturating_add(1),
                    _ => 0,
                };
            }
            Transition::Unstage(cause) => {
                let slot = next.staged.take();
                let slot = slot.ok_or(IllegalTransition::NothingStaged)?;
                next.record(&slot, Phase::Absent, Some(cause), now);
            }
            Transition::BeginTrial { tries } => next.begin_trial(*tries, now)?,
            Transition::TryAgain => next.try_again(now)?,
            Transition::Confirm => next.confirm(now)?,
            Transition::RollBack(cause) => {
                let trial = next.trial.take();
                let trial = trial.ok_or(IllegalTransition::NothingOnTrial)?;
                next.remember(&trial.slot, Phase::RolledBack, cause, now);
            }
            Transition::Fail(slot, phase, cause) => next.fail(slot, *phase, cause, now)?,
            Transition::GoBack(cause) => next.go_back(cause, now)?,
            Transition::Recover(cause) => next.recover(cause, now)?,
            Transition::DropLive(cause) => {
                let damaged = next.live.take().ok_or(IllegalTransition::NothingLive)?;
                next.record(&damaged, Phase::Failed, Some(cause), now);
            }
            Transition::Forgive {
                name,
                release,
                cause,
            } => next.forgive_release(name, *release, cause, now)?,
            Transition::LowerFloor { name, generation } => {
                next.lower_floor(name, *generation, now)?;
            }
            Transition::ReplaceTrust {
                version,
                file,
                resets,
            } => next.replace_trust(*version, *file, resets, now)?,
            Transition::StatementSeen { name, issued } => next.statement_seen(name, *issued)?,
        }
        Ok(next)
    }

    fn install(&mut self, slot: &Slot, issued: Time, now: Time) -> Result<(), IllegalTransition> {
        self.check_floor(slot)?;
        self.make_live(slot.clone(), now);
        self.clock_floor = self.clock_floor.max(Some(issued));
        Ok(())
    }

    /// The same release again only updates its slot, and keeps the previous release.
    fn make_live(&mut self, slot: Slot, now: Time) {
        let replaced = self.live.replace(slot.clone());
        if replaced
            .as_ref()
            .is_none_or(|old| old.release != slot.release)
        {
            self.previous = replaced;
        }
        let entry = FloorEntry {
            generation: slot.generation,
            release: Some(slot.release),
        };
        self.floor.insert(slot.name.clone(), entry);
        let no_newer =
            |other: &Slot| other.name == slot.name && other.generation <= slot.generation;
        self.staged.take_if(|staged| no_newer(staged));
        self.trial.take_if(|trial| no_newer(&trial.slot));
        self.forgive(&slot.name, |failed| failed.generation <= slot.generation);
        self.record(&slot, Phase::Live, None, now);
    }

    fn stage(
        &mut self,
        slot: &Slot,
        issued: Time,
        activate: bool,
        now: Time,
    ) -> Result<(), IllegalTransition> {
        self.check_not_serving(slot)?;
        self.check_floor(slot)?;
        self.check_memory(slot)?;
        self.staged = Some(slot.clone());
        self.activate = activate.then_some(slot.release);
        self.proofs = 0;
        self.clock_floor = self.clock_floor.max(Some(issued));
        self.record(slot, Phase::Staged, None, now);
        Ok(())
    }

    fn begin_trial(&mut self, tries: u32, now: Time) -> Result<(), IllegalTransition> {
        if let Some(trial) = &self.trial {
            return Err(IllegalTransition::OnTrial {
                name: trial.slot.name.clone(),
                generation: trial.slot.generation,
            });
        }
        let slot = self.staged.take();
        let slot = slot.ok_or(IllegalTransition::NothingStaged)?;
        // The floor may have risen, or a release of this name may have failed, since it was staged.
        self.check_floor(&slot)?;
        self.check_memory(&slot)?;
        self.record(&slot, Phase::Trial, None, now);
        self.trial = Some(Trial {
            slot,
            tries_left: tries.min(Trial::MAX_TRIES),
            since: now,
        });
        Ok(())
    }

    fn try_again(&mut self, now: Time) -> Result<(), IllegalTransition> {
        let trial = self.trial.as_mut();
        let trial = trial.ok_or(IllegalTransition::NothingOnTrial)?;
        let slot = trial.slot.clone();
        let Some(left) = trial.tries_left.checked_sub(1) else {
            return Err(IllegalTransition::NoTriesLeft {
                name: slot.name,
                generation: slot.generation,
            });
        };
        trial.tries_left = left;
        let cause = Cause::new(
            "started_again",
            format!("the daemon started before the trial was confirmed; tries left: {left}"),
        );
        self.record(&slot, Phase::Trial, Some(&cause), now);
        Ok(())
    }

    fn confirm(&mut self, now: Time) -> Result<(), IllegalTransition> {
        let trial = self.trial.take();
        let trial = trial.ok_or(IllegalTransition::NothingOnTrial)?;
        self.check_floor(&trial.slot)?;
        self.make_live(trial.slot, now);
        Ok(())
    }

    fn fail(
        &mut self,
        slot: &Slot,
        phase: Phase,
        cause: &Cause,
        now: Time,
    ) -> Result<(), IllegalTransition> {
        if !matches!(phase, Phase::Refused | Phase::Failed) {
            return Err(IllegalTransition::NotAFailure(phase));
        }
        self.check_not_serving(slot)?;
        self.staged.take_if(|staged| staged.release == slot.release);
        self.remember(slot, phase, cause, now);
        Ok(())
    }

    fn go_back(&mut self, cause: &Cause, now: Time) -> Result<(), IllegalTransition> {
        if let Some(trial) = &self.trial {
            return Err(IllegalTransition::OnTrial {
                name: trial.slot.name.clone(),
                generation: trial.slot.generation,
            });
        }
        let left = self.live.take().ok_or(IllegalTransition::NothingLive)?;
        let back = self.previous.take();
        let back = back.ok_or(IllegalTransition::NothingPrevious)?;
        if let Some(cause) = self.rolled_back(&back) {
            return Err(IllegalTransition::PreviousRolledBack {
                cause: cause.to_string(),
                name: back.name,
                generation: back.generation,
            });
        }
        self.forgive(&back.name, |failed| failed.release == back.release);
        self.remember(&left, Phase::RolledBack, cause, now);
        self.serve_again(back, cause, now);
        self.previous = Some(left);
        Ok(())
    }

    /// Makes the previous release live, without a trial.
    fn serve_again(&mut self, back: Slot, cause: &Cause, now: Time) {
        self.record(&back, Phase::Live, Some(cause), now);
        self.staged.take_if(|staged| staged.release == back.release);
        self.trial
            .take_if(|trial| trial.slot.release == back.release);
        self.live = Some(back);
    }

    fn recover(&mut self, cause: &Cause, now: Time) -> Result<(), IllegalTransition> {
        let damaged = self.live.take().ok_or(IllegalTransition::NothingLive)?;
        let back = self.previous.take();
        let back = back.ok_or(IllegalTransition::NothingPrevious)?;
        self.record(&damaged, Phase::Failed, Some(cause), now);
        self.serve_again(back, cause, now);
        Ok(())
    }

    fn forgive_release(
        &mut self,
        name: &str,
        release: Digest,
        cause: &Cause,
        now: Time,
    ) -> Result<(), IllegalTransition> {
        let failed = self.failed.get(name);
        let failed = failed.filter(|failed| failed.release == release);
        let generation = failed
            .ok_or_else(|| IllegalTransition::NotFailed(name.to_owned()))?
            .generation;
        self.failed.remove(name);
        self.push(Event {
            at: now,
            release: Some(release),
            name: name.to_owned(),
            generation,
            phase: Phase::Absent,
            cause: Some(cause.clone().bounded()),
        });
        Ok(())
    }

    fn lower_floor(
        &mut self,
        name: &str,
        generation: u64,
        now: Time,
    ) -> Result<(), IllegalTransition> {
        let floor = self.floor.get(name).map(|entry| entry.generation);
        let floor = floor.ok_or_else(|| IllegalTransition::NoSuchName(name.to_owned()))?;
        if generation >= floor {
            return Err(IllegalTransition::NotLower {
                name: name.to_owned(),
                generation,
                floor,
            });
        }
        let cause = Cause::new("floor_lowered", format!("from {floor} to {generation}"));
        self.set_floor(name, generation, cause, now);
        Ok(())
    }

    fn set_floor(&mut self, name: &str, generation: u64, cause: Cause, now: Time) {
        let entry = FloorEntry {
            generation,
            release: None,
        };
        self.floor.insert(name.to_owned(), entry);
        self.forgive(name, |failed| failed.generation >= generation);
        self.push(Event {
            at: now,
            release: None,
            name: name.to_owned(),
            generation,
            phase: Phase::Absent,
            cause: Some(cause),
        });
    }

    fn replace_trust(
        &mut self,
        version: u64,
        file: Digest,
        resets: &BTreeMap<String, u64>,
        now: Time,
    ) -> Result<(), IllegalTransition> {
        if let Some(trust) = &self.trust
            && version <= trust.version
        {
            return Err(IllegalTransition::OldTrust {
                version,
                current: trust.version,
            });
        }
        self.trust = Some(TrustEntry { version, file });
        let cause = Cause::new("trust_replaced", format!("by their version {version}"));
        self.push(Event {
            at: now,
            release: None,
            name: TRUST.to_owned(),
            generation: version,
            phase: Phase::Absent,
            cause: Some(cause),
        });
        for (name, generation) in resets {
            let message = format!("to {generation} by version {version} of the trusted keys");
            self.set_floor(name, *generation, Cause::new("floor_reset", message), now);
        }
        Ok(())
    }

    fn statement_seen(&mut self, name: &str, issued: Time) -> Result<(), IllegalTransition> {
        if self.is_replayed(name, issued) {
            return Err(IllegalTransition::Replayed {
                name: name.to_owned(),
                issued,
            });
        }
        self.statement_seen.insert(name.to_owned(), issued);
        while self.statement_seen.len() > STATEMENTS {
            let seen = self
                .statement_seen
                .iter()
                .filter(|(other, _)| *other != name);
            let Some(oldest) = seen.min_by_key(|(_, issued)| **issued) else {
                break;
            };
            let oldest = oldest.0.clone();
            self.statement_seen.remove(&oldest);
        }
        Ok(())
    }

    fn check_floor(&self, slot: &Slot) -> Result<(), IllegalTransition> {
        if self.allows(&slot.name, slot.generation, slot.release) {
            return Ok(());
        }
        Err(IllegalTransition::BelowFloor {
            name: slot.name.clone(),
            generation: slot.generation,
        })
    }

    fn check_memory(&self, slot: &Slot) -> Result<(), IllegalTransition> {
        let failed = self.remembers(&slot.name, slot.generation, slot.release);
        failed.map_or(Ok(()), |failed| {
            Err(IllegalTransition::FailedBefore {
                name: slot.name.clone(),
                generation: slot.generation,
                failed: failed.generation,
                cause: failed.cause.name.clone(),
            })
        })
    }

    fn check_not_serving(&self, slot: &Slot) -> Result<(), IllegalTransition> {
        let trial = self.trial.as_ref().map(|trial| &trial.slot);
        if [self.live.as_ref(), trial]
            .into_iter()
            .flatten()
            .any(|serving| serving.release == slot.release)
        {
            return Err(IllegalTransition::AlreadyServing {
                name: slot.name.clone(),
                generation: slot.generation,
            });
        }
        Ok(())
    }

    /// Records a failed release. Each name has one entry, of the highest generation, which also blocks all lower ones.
    fn remember(&mut self, slot: &Slot, phase: Phase, cause: &Cause, now: Time) {
        self.record(slot, phase, Some(cause), now);
        let highest = self.failed.get(&slot.name).map(|failed| failed.generation);
        if highest.is_none_or(|highest| highest <= slot.generation) {
            let remembered = FailedRelease {
                release: slot.release,
                generation: slot.generation,
                phase,
                cause: cause.clone().bounded(),
                at: now,
            };
            self.failed.insert(slot.name.clone(), remembered);
        }
    }

    fn forgive(&mut self, name: &str, which: impl FnOnce(&FailedRelease) -> bool) {
        if self.failed.get(name).is_some_and(which) {
            self.failed.remove(name);
        }
    }

    fn record(&mut self, slot: &Slot, phase: Phase, cause: Option<&Cause>, now: Time) {
        self.push(Event {
            at: now,
            release: Some(slot.release),
            name: slot.name.clone(),
            generation: slot.generation,
            phase,
            cause: cause.cloned().map(Cause::bounded),
        });
    }

    fn push(&mut self, event: Event) {
        self.history.push(event);
        let over = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..over);
    }
}
