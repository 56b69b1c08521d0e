//! What a device must show before it is shipped: it serves from the disk alone, keeps up under load, and can go back.

mod judge;
mod load;
mod rehearsal;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_base::{chain, resident};
use hotshoe_config::Config;
use hotshoe_senses::{Places, Reading, Sampler};
use hotshoe_store::{OpenError, Slot, Store};

use self::load::run;
use self::rehearsal::{LoadedRelease, Rehearsal};
use super::{Finding, State};

/// What to do without the right key.
const KEY_ADVICE: &str = "name the key that the files are encrypted with in [encryption]";
/// Longest time of reading one sensor.
const READ_TIMEOUT: Duration = Duration::from_millis(250);

/// Rehearses what the device will do, with load for `length`. Samples are those files, or else those of the release's self-tests.
pub(super) fn check(config: &Config, length: Duration, samples: &[PathBuf]) -> Vec<Finding> {
    let mut findings = judge::settings(config);
    let mut sensors = sensors(config);
    let before = sensors.round();
    findings.extend(judge::clock(&before));
    findings.push(judge::outbox(config, &before));
    let store = match open(config) {
        Ok(store) => store,
        Err(finding) => {
            findings.push(finding);
            return findings;
        }
    };
    findings.push(judge::disk(config, &store));
    let (live, previous) = {
        let ledger = store.ledger();
        (ledger.live.clone(), ledger.previous.clone())
    };
    let Some(live) = live else {
        findings.push(Finding::bad(
            "start",
            State::Fail,
            "no release is installed".to_owned(),
            "install the release that the device is shipped with: `hotshoe install`",
        ));
        return findings;
    };
    let rehearsal = match Rehearsal::new(config, store) {
        Ok(rehearsal) => rehearsal,
        Err(error) => {
            let found = format!("{error:#}");
            let advice = "correct what the message names";
            findings.push(Finding::bad("start", State::Fail, found, advice));
            return findings;
        }
    };
    findings.push(rollback(&rehearsal, previous.as_ref()));
    match start(&rehearsal, &live) {
        Ok((loaded, finding)) => {
            findings.push(finding);
            findings.extend(under_load(
                &rehearsal,
                &loaded,
                (length, samples),
                &mut sensors,
                &before,
            ));
        }
        Err(finding) => findings.push(finding),
    }
    findings
}

fn sensors(config: &Config) -> Sampler {
    let places = Places {
        root: config.governor.sensors.clone(),
        data: config.data.clone(),
        read_timeout: READ_TIMEOUT,
    };
    Sampler::new(places, Supervisor::default())
}

/// Opens the data folder, which a daemon may not use meanwhile: it would share the processor with the measurement.
fn open(config: &Config) -> Result<Store, Finding> {
    const WHAT: &str = "start";
    if !config.data.join("ledger.json").exists() {
        let found = format!("{} has no release", config.data.display());
        let advice = "install the release that the device is shipped with: `hotshoe install`";
        return Err(Finding::bad(WHAT, State::Fail, found, advice));
    }
    let at_rest = config
        .encryption
        .open()
        .map_err(|error| Finding::bad(WHAT, State::Fail, chain(&error), KEY_ADVICE))?;
    Store::open_unchanged(&config.data, at_rest).map_err(|error| {
        let advice = match &error {
            OpenError::InUse { .. } => {
                "stop the daemon while this runs (`systemctl stop hotshoe`): both would share the processor"
            }
            OpenError::Key { .. } => KEY_ADVICE,
            _ => "restore the data folder, or start with an empty one",
        };
        Finding::bad(WHAT, State::Fail, chain(&error), advice)
    })
}

/// Loads the live release as a start of the daemon does: from the disk, without a network.
fn start(rehearsal: &Rehearsal<'_>, slot: &Slot) -> Result<(LoadedRelease, Finding), Finding> {
    const WHAT: &str = "start";
    let named = format!("{} generation {}", slot.name, slot.generation);
    let began = Instant::now();
    match rehearsal.load(slot) {
        Ok(loaded) => {
            let took = began.elapsed().as_millis();
            let found = format!(
                "{named} was verified, loaded and tested from the disk alone in {took} ms, with {} self-tests",
                loaded.self_tests
            );
            let finding = if loaded.self_tests == 0 {
                let advice = "add [[tests]] to release.toml: without one, a device cannot tell wrong results from right ones";
                Finding::bad(WHAT, State::Warn, found, advice)
            } else {
                Finding::ok(WHAT, found)
            };
            Ok((loaded, finding))
        }
        Err(error) => Err(Finding::bad(
            WHAT,
            State::Fail,
            format!("{named} cannot serve: {error:#}"),
            "install another release: `hotshoe install`",
        )),
    }
}

/// Loads the release that a rollback would bring back.
fn rollback(rehearsal: &Rehearsal<'_>, previous: Option<&Slot>) -> Finding {
    const WHAT: &str = "rollback";
    let Some(slot) = previous else {
        return Finding::bad(
            WHAT,
            State::Warn,
            "there is no release to go back to: if the live one fails, the device is empty"
                .to_owned(),
            "install a release that is known to work, then the one to ship",
        );
    };
    let named = format!("{} generation {}", slot.name, slot.generation);
    if let Some(cause) = rehearsal.store.ledger().rolled_back(slot) {
        return Finding::bad(
            WHAT,
            State::Warn,
            format!("{named} would come back, and was itself rolled back: {cause}"),
            "install a release that is known to work, then the one to ship",
        );
    }
    match rehearsal.load(slot) {
        Ok(loaded) => Finding::ok(
            WHAT,
            format!(
                "{named} can come back: it loads, and passes {} self-tests",
                loaded.self_tests
            ),
        ),
        Err(error) => Finding::bad(
            WHAT,
            State::Fail,
            format!("{named} would come back, and cannot serve: {error:#}"),
            "install a release that is known to work, then the one to ship",
        ),
    }
}

fn under_load(
    rehearsal: &Rehearsal<'_>,
    loaded: &LoadedRelease,
    (length, files): (Duration, &[PathBuf]),
    sensors: &mut Sampler,
    before: &Reading,
) -> Vec<Finding> {
    let samples = match rehearsal.samples(loaded, files) {
        Ok(samples) if samples.is_empty() => {
            return vec![Finding::bad(
                "latency",
                State::Warn,
                "there is no sample to measure with: the release has no self-test".to_owned(),
                "give files with --sample",
            )];
        }
        Ok(samples) => samples,
        Err(error) => {
            let found = format!("{error:#}");
            let advice = "give other files with --sample";
            return vec![Finding::bad("latency", State::Fail, found, advice)];
        }
    };
    let threads = rehearsal.config.workers.threads;
    let measured = run(
        &loaded.pipeline,
        &rehearsal.device,
        &samples,
        threads,
        length,
    );
    let after = sensors.round();
    let gate = loaded.pipeline.release().health.clone();
    let mut findings = judge::latency(rehearsal.config, &gate, &measured, threads);
    findings.push(judge::memory(before, resident()));
    findings.push(judge::heat(&after, &measured));
    findings
}
