//! Releases of the kind `host`: the daemon's program, in one of the slots of `hotshoe-supervisor`.

use std::env;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hotshoe_base::{Clock, chain};
use hotshoe_store::{Cause, Store};
use hotshoe_supervisor::{
    FOLDER_VARIABLE, FolderError, HostFolder, Installed, PROGRAM_VARIABLE, Wanted,
};
use hotshoe_trust::{Blob, Digest, Release, ReleaseKind, Verified};

use crate::deploy::kinds::effect::{Fault, Progress};
use crate::reload::RunningConfig;
use crate::requests::Request;

/// Time from a start of a new program to its confirmation, where the release gives none: 10 minutes.
const DEADLINE_S: u64 = 600;
/// Time in which a new program says its version.
const VERSION_TIME: Duration = Duration::from_secs(10);
/// Interval at which its end is looked for.
const POLL: Duration = Duration::from_millis(20);
/// Most bytes that it may say.
const MAX_VERSION_BYTES: u64 = 4_096;

/// Whether `hotshoe-supervisor` started this process.
pub(super) fn is_supervised() -> bool {
    env::var_os(FOLDER_VARIABLE).is_some()
}

/// Why the supervisor, if there is one, cannot replace the program of a daemon with this data folder.
fn cannot_replace(data: &Path) -> Option<&'static str> {
    let Some(folder) = env::var_os(FOLDER_VARIABLE) else {
        return Some(
            "start the daemon by `hotshoe-supervisor`, so that its program can be replaced",
        );
    };
    let real = |path: &Path| fs::canonicalize(path).ok();
    // It would never see the order, and the daemon would be restarted for ever.
    (real(Path::new(&folder)) != real(data))
        .then_some("`--data` of `hotshoe-supervisor` is not `data` of hotshoe.toml; make them one")
}

/// The program of this process, and the slots.
pub(super) struct HostEffect {
    data: PathBuf,
    clock: Clock,
    running: Arc<RunningConfig>,
    program: Option<Digest>,
    /// The program on trial.
    trial: Option<Blob>,
    /// The program that was put into the free slot.
    put: Option<Installed>,
    /// Whether this process has asked for a restart.
    is_asked: bool,
}

impl HostEffect {
    pub(super) fn new(data: &Path, clock: Clock, running: Arc<RunningConfig>) -> Self {
        let program = env::var(PROGRAM_VARIABLE).ok();
        Self {
            data: data.to_owned(),
            clock,
            running,
            program: program.and_then(|digest| digest.parse().ok()),
            trial: None,
            put: None,
            is_asked: false,
        }
    }

    pub(super) const fn program(&self) -> Option<Digest> {
        self.program
    }

    /// Puts the program of this platform into the free slot, and lets it say its version: it must run on this machine.
    pub(super) fn prove(
        &mut self,
        store: &Store,
        release: &Verified<Release>,
    ) -> Result<(), Fault> {
        if let Some(message) = cannot_replace(&self.data) {
            return Err(Fault::Later(Cause::new("no_supervisor", message)));
        }
        let program = program_of(release)?;
        let folder = HostFolder::open(&self.data).map_err(later)?;
        let slots = folder.slots().map_err(later)?;
        let file = store.blobs().open_sized(&program);
        let file = file.map_err(|error| Fault::Damage(Cause::new(error.name(), chain(&error))))?;
        let installed = folder.put(file, slots.free(), program).map_err(later)?;
        let path = folder.checked(&installed).map_err(later)?;
        let said = version_of(&path, &self.clock);
        let said = said.map_err(|error| {
            if error.kind() == io::ErrorKind::ExecutableFileBusy {
                // Another thread started a process while the file was written.
                return Fault::Later(Cause::new("busy", error.to_string()));
            }
            let message = format!("the program does not run on this machine: {error}");
            Fault::Release(Cause::new("program_refused", message))
        })?;
        if !said.starts_with("hotshoe ") {
            let message = "the program does not say a version of hotshoe";
            return Err(Fault::Release(Cause::new("program_refused", message)));
        }
        tracing::info!(version = said.trim(), slot = %installed.slot, "a program is in its slot");
        self.put = Some(installed);
        Ok(())
    }

    /// Orders the trial, and asks for a restart.
    pub(super) fn begin(
        &mut self,
        store: &Store,
        release: &Verified<Release>,
    ) -> Result<(), Fault> {
        let program = program_of(release)?;
        self.trial = Some(program);
        if self.put.is_none_or(|put| put.program != program) {
            self.prove(store, release)?;
        }
        let Some(installed) = self.put.take() else {
            return Ok(());
        };
        let folder = HostFolder::open(&self.data).map_err(later)?;
        let slots = folder.slots().map_err(later)?;
        let deadline_s = release.health.confirm_after_seconds.unwrap_or(DEADLINE_S);
        let wanted = Wanted {
            number: slots.taken.saturating_add(1),
            installed,
            starts: release.health.tries.saturating_add(1),
            // It cannot be confirmed before that.
            deadline_s: deadline_s.max(release.health.min_seconds.saturating_mul(2)),
        };
        folder.want(&wanted).map_err(later)?;
        self.is_asked = true;
        self.running.requests().make(Request::Restart);
        Ok(())
    }

    /// Goes on with a trial after a start. The order may have been lost before the supervisor took it.
    pub(super) fn resume(
        &mut self,
        store: &Store,
        release: &Verified<Release>,
    ) -> Result<(), Fault> {
        let program = program_of(release)?;
        self.trial = Some(program);
        let folder = HostFolder::open(&self.data).map_err(later)?;
        let slots = folder.slots().map_err(later)?;
        let digest = program.digest;
        let is_known = slots
            .trial
            .is_some_and(|it| it.installed.program == program)
            || slots.live.is_some_and(|it| it.program == program)
            || slots.failed.is_some_and(|it| it.program == digest);
        if self.program == Some(digest) || is_known {
            return Ok(());
        }
        self.begin(store, release)
    }

    /// How the trial goes on, by the record of the supervisor.
    pub(super) fn check(&mut self, is_good: bool) -> Progress {
        let Some(program) = self.trial else {
            return Progress::Wait;
        };
        let followed = || -> Result<Progress, FolderError> {
            let folder = HostFolder::open(&self.data)?;
            let slots = folder.slots()?;
            let is_live = slots.live.is_some_and(|live| live.program == program);
            if self.program == Some(program.digest) {
                if is_live {
                    return Ok(Progress::Good);
                }
                if is_good {
                    folder.confirm(slots.taken)?;
                }
                return Ok(Progress::Wait);
            }
            if self.is_asked {
                return Ok(Progress::Wait);
            }
            let failed = slots.failed.filter(|it| it.program == program.digest);
            Ok(Progress::Failed(match failed {
                Some(failed) => Cause::new(
                    failed.cause,
                    "the supervisor went back to the program before it",
                ),
                None => Cause::new("damaged", "the program in its slot was damaged"),
            }))
        };
        followed().unwrap_or_else(|error| {
            let cause = chain(&error);
            tracing::warn!(cause, "cannot read the slots of the supervisor");
            Progress::Wait
        })
    }

    pub(super) fn end_trial(&mut self) {
        let is_own = self.trial.take().map(|it| it.digest) == self.program;
        if !is_own || self.program.is_none() || !is_supervised() {
            return;
        }
        let refused = HostFolder::open(&self.data)
            .and_then(|folder| folder.slots().and_then(|slots| folder.refuse(slots.taken)));
        if let Err(error) = refused {
            // Without a confirmation, the supervisor goes back at the deadline.
            tracing::error!(
                cause = chain(&error),
                "cannot tell the supervisor to go back"
            );
        }
        self.running.requests().make(Request::Restart);
    }
}

fn later(error: FolderError) -> Fault {
    Fault::Later(Cause::new(error.name(), chain(&error)))
}

/// The program of this platform.
fn program_of(release: &Release) -> Result<Blob, Fault> {
    let platform = ReleaseKind::platform();
    let program = release.data.get(&platform).map(|file| file.blob);
    program.ok_or_else(|| {
        let message = format!("the release has no program for `{platform}`");
        Fault::Release(Cause::new("other_platform", message))
    })
}

/// What a program says with `--version`.
fn version_of(path: &Path, clock: &Clock) -> io::Result<String> {
    let mut child = Command::new(path)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let until = clock.deadline(VERSION_TIME);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if until <= clock.now() {
            child.kill()?;
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        clock.sleep(POLL);
    };
    if !status.success() {
        return Err(io::Error::other(status.to_string()));
    }
    let mut said = String::new();
    if let Some(output) = child.stdout.take() {
        output.take(MAX_VERSION_BYTES).read_to_string(&mut said)?;
    }
    Ok(said)
}
