//! The start of the daemon: loads the release that serves, from the data folder alone, without a network.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hotshoe_base::Clock;
use hotshoe_base::disk::wider_mode;
use hotshoe_config::{Config, KeepPrevious};
use hotshoe_engine::{CompileInterrupt, KeptBack, MemoryChoice, SharedTexts};
use hotshoe_sealing::AtRest;
use hotshoe_store::{ApplyError, Cause, Slot, Store, Transition};
use hotshoe_trust::TrustRoot;

use crate::deploy::error::DeployError;
use crate::deploy::keyring;
use crate::deploy::loader::{LoadedLive, Loader};
use crate::deploy::start_record::StartRecord;
use crate::deploy::wall_time;
use crate::serving::ServingRelease;

/// Name of the cause when a trial has used up its starts.
const DIED_IN_PROBATION: &str = "died_in_probation";

/// The open data folder, with the loaded releases.
pub struct StartupState {
    pub(super) clock: Clock,
    pub(super) store: Store,
    pub(super) loader: Loader,
    /// The release that serves: the trial or the live one. `None` if there is neither.
    pub(super) serving: Option<Arc<ServingRelease>>,
    /// The live release beside a trial, for a rollback.
    pub(super) old: Option<Arc<ServingRelease>>,
    /// The live release that cannot serve, where none before it can either. The daemon starts empty then, so that it can be reached and
    /// takes a release.
    pub(super) failed: Option<(Slot, Cause)>,
    /// The live release that was given up at this start, because the daemon kept ending with it.
    pub(super) crash_loop: Option<GivenUp>,
    /// The unexpected ends up to now.
    pub(super) starts: Arc<StartRecord>,
    /// Transitions that could not be written yet.
    pub(super) pending_transitions: VecDeque<Transition>,
}

/// A release that the daemon kept ending with.
pub(super) struct GivenUp {
    /// It.
    pub slot: Slot,
    /// Why.
    pub cause: Cause,
    /// What serves in its place, if anything does.
    pub serves: Option<Slot>,
}

impl StartupState {
    /// Opens the data folder, counts a start of an unconfirmed trial or rolls it back, and loads the release that serves.
    ///
    /// # Errors
    /// [`DeployError`] says what to do.
    pub fn open(config: &Config, at_rest: AtRest, clock: Clock) -> Result<Self, DeployError> {
        let store = Store::open_at_rest(&config.data, at_rest).map_err(DeployError::Store)?;
        warn_of_modes(config);
        let trust = keyring::open(config, &store)?;
        let loader = Loader::new(config, &store, trust, clock.clone())?;
        let starts = StartRecord::open(&config.data, &config.deploy, clock.clone());
        let mut startup = Self {
            clock,
            store,
            loader,
            serving: None,
            old: None,
            failed: None,
            crash_loop: None,
            starts: Arc::new(starts),
            pending_transitions: VecDeque::new(),
        };
        let trial = startup.load_trial();
        let beside = trial.is_some();
        if beside {
            // An end from now on is that of the trial, which counts its starts itself.
            startup.starts.end();
        }
        if !beside || config.deploy.keep_previous == KeepPrevious::Memory {
            startup.old = startup.load_live(beside);
        }
        startup.serving = match trial {
            Some(trial) => Some(trial),
            None => startup.old.take(),
        };
        Ok(startup)
    }

    /// The unexpected ends up to now.
    pub(crate) fn starts(&self) -> Arc<StartRecord> {
        Arc::clone(&self.starts)
    }

    /// The mode of component memories, with its reason.
    pub const fn memory(&self) -> &MemoryChoice {
        self.loader.memory()
    }

    /// The trusted keys as they are replaced.
    pub fn trust(&self) -> Arc<ArcSwap<TrustRoot>> {
        Arc::clone(self.loader.trust_cell())
    }

    /// The shared values that components read.
    pub fn shared_texts(&self) -> SharedTexts {
        self.loader.shared_texts().clone()
    }

    /// The counts of what data contracts keep on the device.
    pub fn kept_back(&self) -> KeptBack {
        self.loader.kept_back().clone()
    }

    /// The version of the trusted keys.
    pub(crate) fn trust_version(&self) -> u64 {
        self.loader.trust().version()
    }

    /// Ends compilations. None where they cannot be ended.
    pub fn compile_interrupt(&self) -> Option<CompileInterrupt> {
        self.loader.compile_interrupt()
    }

    /// The release that serves.
    pub fn serving(&self) -> Option<Arc<ServingRelease>> {
        self.serving.clone()
    }

    /// Loads the trial, if it has a start left. Otherwise rolls it back.
    fn load_trial(&mut self) -> Option<Arc<ServingRelease>> {
        let trial = self.store.ledger().trial.clone()?;
        if trial.tries_left == 0 {
            let message =
                "the daemon ended before it confirmed the release, as often as is allowed";
            self.roll_back(&trial.slot, Cause::new(DIED_IN_PROBATION, message));
            return None;
        }
        // Before loading: a crash while loading must count as well.
        if let Err(error) = self
            .store
            .apply(&Transition::TryAgain, wall_time(&self.clock))
        {
            self.roll_back(&trial.slot, Cause::new(error.name(), super::chain(&error)));
            return None;
        }
        let loaded = self.loader.load_slot(&self.store, &trial.slot);
        loaded
            .map_err(|error| self.roll_back(&trial.slot, error.cause()))
            .ok()
    }

    /// Loads the live release, or the previous one if it cannot serve. Beside a trial, the live one only.
    fn load_live(&mut self, beside: bool) -> Option<Arc<ServingRelease>> {
        if beside {
            let slot = self.store.ledger().live.as_ref()?;
            let loaded = self.loader.load_slot(&self.store, slot);
            return loaded
                .inspect_err(|error| {
                    let cause = super::chain(error);
                    tracing::error!(
                        release = slot.name,
                        cause,
                        "the release to go back to cannot be loaded"
                    );
                })
                .ok();
        }
        let (live, is_recorded) = self.next_live()?;
        self.starts.begin(&live);
        let loaded = if is_recorded {
            self.loader.load_live(&self.store)
        } else {
            self.load_unrecorded(&live)
        };
        if loaded.served.is_none() {
            self.starts.end();
        }
        if let Some(transition) = loaded.transition {
            self.apply(transition);
        }
        self.failed = loaded.failed;
        loaded.served
    }

    /// The live release, or the previous one if the daemon kept ending with it, and whether the ledger says so already. `None` if there is
    /// none to go back to: a device without a release can be reached, and takes one.
    fn next_live(&mut self) -> Option<(Slot, bool)> {
        let ledger = self.store.ledger();
        let (live, back) = (ledger.live.clone()?, ledger.previous.clone());
        let Some(cause) = self.starts.crash_loop(&live) else {
            return Some((live, true));
        };
        let go_back = Transition::GoBack(cause.clone());
        // Before it is loaded: an end while it loads must count for it.
        let went_back = self.store.apply(&go_back, wall_time(&self.clock));
        let is_recorded = went_back.is_ok();
        let serves = match went_back {
            Ok(()) => back,
            Err(error @ ApplyError::Illegal(_)) => {
                let cause = super::chain(&error);
                tracing::error!(cause, "cannot go back to the release before it");
                None
            }
            Err(error) => {
                let cause = super::chain(&error);
                tracing::error!(cause, "the ledger cannot be written; will try again");
                self.pending_transitions.push_back(go_back);
                back
            }
        };
        if serves.is_none() {
            self.starts.give_up(&live);
            self.failed = Some((live.clone(), cause.clone()));
        }
        self.crash_loop = Some(GivenUp {
            slot: live,
            cause,
            serves: serves.clone(),
        });
        serves.map(|slot| (slot, is_recorded))
    }

    /// Loads a release that the ledger does not have as the live one yet.
    fn load_unrecorded(&self, slot: &Slot) -> LoadedLive {
        match self.loader.load_slot(&self.store, slot) {
            Ok(served) => LoadedLive {
                served: Some(served),
                ..LoadedLive::default()
            },
            Err(error) => LoadedLive {
                failed: Some((slot.clone(), error.cause())),
                ..LoadedLive::default()
            },
        }
    }

    fn roll_back(&mut self, slot: &Slot, cause: Cause) {
        tracing::error!(
            release = slot.name,
            generation = slot.generation,
            cause = cause.name,
            message = cause.message,
            "rolled back at the start"
        );
        self.apply(Transition::RollBack(cause));
    }

    /// Applies a transition. If the ledger cannot be written, the device serves all the same, and the write is retried later.
    fn apply(&mut self, transition: Transition) {
        if let Err(error) = self.store.apply(&transition, wall_time(&self.clock)) {
            tracing::error!(
                cause = super::chain(&error),
                "the ledger cannot be written; will try again"
            );
            self.pending_transitions.push_back(transition);
        }
    }
}

/// Warns of files that other users of the machine can read or change. An earlier version, or a copy, made them so.
fn warn_of_modes(config: &Config) {
    let (private, unchangeable) = ("chmod -R go-rwx", "chmod go-w");
    let checked = [
        (config.data.clone(), 0o077, private),
        (config.data.join("ledger.json"), 0o077, private),
        (config.data.join("blobs"), 0o077, private),
        // It may belong to another user, and the daemon needs to read it.
        (config.trust.clone(), 0o022, unchangeable),
    ];
    for (path, bits, advice) in checked {
        if let Some(mode) = wider_mode(&path, bits) {
            tracing::warn!(
                path = %path.display(),
                mode = format!("{mode:03o}"),
                "other users of this machine have more access to this file than they should; run `{advice}` on it"
            );
        }
    }
}
