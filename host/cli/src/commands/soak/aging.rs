//! What many swaps leave behind: a daemon that has had them, and a fresh one, in alternating pairs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hotshoe_engine::Sample;
use hotshoe_link::{Client, FeedError};
use hotshoe_release::terminal::Terminal;
use serde::Serialize;

use super::SoakError;
use super::site::{SoakSite, Workshop};
use super::watch::{Point, look};

/// Pairs of measurements: as many as swaps, within these.
const PAIRS: (u64, u64) = (20, 60);
/// Samples of one measurement.
const SAMPLES: usize = 50;
/// Samples of a trial, of which it needs fewer.
const OF_A_TRIAL: usize = 8;
/// Longest time to an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// A line of progress after so many swaps.
const NOTE_EVERY: u64 = 500;

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Aged {
    pub(super) swaps: u64,
    /// Mean time of a swap while it aged, in milliseconds.
    pub(super) mean_swap_ms: f64,
    /// What the aged daemon held before the first swap and after the last one.
    pub(super) before: Point,
    pub(super) after: Point,
    /// The time of a sample, of the aged daemon over that of the fresh one, in each pair.
    pub(super) sample_ratios: Vec<f64>,
    /// The same of a swap.
    pub(super) swap_ratios: Vec<f64>,
}

/// Swaps so often, and compares.
pub(super) fn run(
    workshop: &mut Workshop,
    samples: &[Sample],
    swaps: u64,
    stopped: &AtomicBool,
    terminal: &Terminal,
) -> anyhow::Result<Aged> {
    let mut aged = SoakSite::start(workshop, "aged")?;
    let client = aged.connect()?;
    // What a first sample makes is there from the beginning.
    mean_ms(&client, &aged.names(), samples, SAMPLES)?;
    let before = look(aged.id(), &aged.data);
    let mut all = Duration::ZERO;
    for number in 1..=swaps {
        if stopped.load(Ordering::Acquire) {
            return Err(SoakError::Interrupted { swaps: number - 1 }.into());
        }
        all += swap(&client, &mut aged, workshop, samples)?;
        aged.check()?;
        if number % NOTE_EVERY == 0 {
            let point = look(aged.id(), &aged.data);
            terminal.note(format!(
                "{number} swaps, {:.1} MB, {} file handles",
                point.private_mb, point.handles
            ));
        }
    }
    let after = look(aged.id(), &aged.data);
    let mut fresh = SoakSite::start(workshop, "fresh")?;
    let fresh_client = fresh.connect()?;
    mean_ms(&fresh_client, &fresh.names(), samples, SAMPLES)?;
    let (mut sample_ratios, mut swap_ratios) = (Vec::new(), Vec::new());
    for pair in 0..swaps.clamp(PAIRS.0, PAIRS.1) {
        // The order alternates, so that what changes on the machine meanwhile is on both sides.
        let (old, new) = if pair % 2 == 0 {
            let old = costs(&client, &mut aged, workshop, samples)?;
            (old, costs(&fresh_client, &mut fresh, workshop, samples)?)
        } else {
            let new = costs(&fresh_client, &mut fresh, workshop, samples)?;
            (costs(&client, &mut aged, workshop, samples)?, new)
        };
        sample_ratios.push(old.0 / new.0);
        swap_ratios.push(old.1 / new.1);
    }
    client.close();
    fresh_client.close();
    aged.stop()?;
    fresh.stop()?;
    Ok(Aged {
        swaps,
        mean_swap_ms: all.as_secs_f64() * 1_000.0 / swaps as f64,
        before,
        after,
        sample_ratios,
        swap_ratios,
    })
}

/// What a sample and a swap cost.
fn costs(
    client: &Client,
    site: &mut SoakSite,
    workshop: &mut Workshop,
    samples: &[Sample],
) -> anyhow::Result<(f64, f64)> {
    let sample = mean_ms(client, &site.names(), samples, SAMPLES)?;
    let swap = swap(client, site, workshop, samples)?;
    Ok((sample, swap.as_secs_f64()))
}

/// Swaps, with samples for the trial.
fn swap(
    client: &Client,
    site: &mut SoakSite,
    workshop: &mut Workshop,
    samples: &[Sample],
) -> anyhow::Result<Duration> {
    let names = site.names();
    site.swap(workshop, || {
        mean_ms(client, &names, samples, OF_A_TRIAL)?;
        Ok(())
    })
}

/// The mean time of a sample, one after the other, in milliseconds.
fn mean_ms(
    client: &Client,
    (site, device): &(String, String),
    samples: &[Sample],
    count: usize,
) -> anyhow::Result<f64> {
    let feeder = client.feeder(site, device, 1, ANSWER);
    let mut all = Duration::ZERO;
    for (number, sample) in samples.iter().cycle().take(count).enumerate() {
        let id = format!("pair-{number}");
        feeder.send("pair", &sample.content_type, &id, sample.payload.to_vec())?;
        let reply = feeder.next(ANSWER);
        let result = reply.map_or(Err(FeedError::NoReply), |reply| {
            reply.result.map(|_| reply.elapsed)
        });
        all += result.map_err(|error| SoakError::NoResult {
            reason: error.to_string(),
        })?;
    }
    Ok(all.as_secs_f64() * 1_000.0 / count as f64)
}
