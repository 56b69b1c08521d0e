//! Delivers one version after the other to a device while it serves.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use hotshoe_config::ZenohConfig;
use hotshoe_protocol::status::Status;
use hotshoe_store::Phase;

use super::versions::{Expected, Version};
use hotshoe_release::deliver::{Deployer, Step};
use hotshoe_release::terminal::{Terminal, size};

/// Timeout of one version: compiling, self-tests and trial on a slow machine.
const DEADLINE: Duration = Duration::from_secs(180);
/// Faults for which the health gate may roll back a release that traps.
const TRAPPED: [&str; 2] = ["trap_rate", "error_rate"];

/// The outcome of one delivered version.
pub(crate) struct Delivered {
    /// The version's generation.
    pub generation: u64,
    /// What was new in it.
    pub what: &'static str,
    /// The last step that the device reported.
    pub end: Step,
    /// When publishing began.
    pub published: Instant,
    /// Bytes that the publisher sent.
    pub bytes_moved: u64,
}

/// Publishes the versions in turn, each after the one before has ended. Starts after `wait`, or not at all if the other
/// end of `over` is closed.
pub(crate) fn deliver(
    zenoh: &ZenohConfig,
    device: &Status,
    versions: &[Version],
    wait: Duration,
    over: &Receiver<()>,
    terminal: &Terminal,
) -> anyhow::Result<Vec<Delivered>> {
    let mut deployer = Deployer::open(zenoh, &device.site, &device.device)?;
    if !matches!(over.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
        bail!("the samples ended before the updates began");
    }
    let delivered = versions
        .iter()
        .map(|version| deliver_one(&mut deployer, version, over, terminal))
        .collect();
    deployer.close();
    delivered
}

fn deliver_one(
    deployer: &mut Deployer,
    version: &Version,
    over: &Receiver<()>,
    terminal: &Terminal,
) -> anyhow::Result<Delivered> {
    let generation = version.release.generation;
    let say = |text: &str| terminal.note(format!("generation {generation}     {text}"));
    say(&format!("published: {}", version.what));
    let published = deployer.publish(&version.layout, &version.release)?;
    let mut said = BTreeSet::new();
    let end = deployer.follow(&published, DEADLINE, |step| {
        ensure!(
            !matches!(
                over.recv_timeout(Duration::ZERO),
                Err(RecvTimeoutError::Disconnected)
            ),
            "the samples ended before the update did"
        );
        // The device reports `fetching` for the signed files and again for the rest; print it once.
        if said.insert(step.phase) {
            let cause = step.cause.as_ref();
            say(&cause.map_or_else(
                || step.phase.to_string(),
                |cause| format!("{}: {}: {}", step.phase, cause.name, cause.message),
            ));
        }
        Ok(step.phase == Phase::Live || step.phase.is_failure())
    })?;
    let bytes_moved = deployer.sent_since(&published);
    say(&format!(
        "{} after {:.1} s, {} moved",
        end.phase,
        end.at.duration_since(published.at).as_secs_f64(),
        size(bytes_moved)
    ));
    Ok(Delivered {
        generation,
        what: version.what,
        end,
        published: published.at,
        bytes_moved,
    })
}

/// Whether a version ended as expected.
pub(crate) fn is_as_expected(end: &Step, expected: Expected) -> bool {
    match expected {
        Expected::Confirmed => end.phase == Phase::Live,
        Expected::RolledBack => {
            let cause = end.cause.as_ref();
            end.phase == Phase::RolledBack
                && cause.is_some_and(|cause| TRAPPED.contains(&cause.name.as_str()))
        }
        Expected::Refused => end.phase == Phase::Refused,
    }
}
