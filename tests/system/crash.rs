//! The daemon is killed at random moments while releases stream in.

use std::env;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::site::{Site, light, settled_on};
use super::support::DEADLINE;

/// Kills in the ordinary suite. `HOTSHOE_LONG=1` makes it [`LONG`].
const KILLS: u64 = 200;
/// Kills in the long run.
const LONG: u64 = 2_000;
/// The latest moment of a kill after the start, in milliseconds: by then a release has been fetched, tried and confirmed.
const LATEST_MS: u64 = 600;
/// A release of a new generation is published at every so-many-th kill.
const NEW_EVERY: u64 = 4;

#[test]
fn killed_at_random_moments_it_always_starts_and_serves_and_ends_on_the_right_generation() {
    let kills = if env::var_os("HOTSHOE_LONG").is_some() {
        LONG
    } else {
        KILLS
    };
    let (mut dice, seed) = Dice::seeded(20_261_121);
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    // Its ends are of no release's making.
    let device = site.device("cam", &first, "[deploy]\nmax-crashes = 0\n");
    let mut published = 1;
    let mut confirmed = 1;
    for kill in 0..kills {
        let daemon = device.run();
        let state = daemon.state();
        let live = state["slots"]["live"]["generation"]
            .as_u64()
            .expect("a live release");
        assert!(
            live >= confirmed,
            "seed {seed}, kill {kill}: {live} after {confirmed}: {state:#}"
        );
        confirmed = live;
        let serving = state["release"]["generation"]
            .as_u64()
            .expect("a release serves");
        assert!(
            (live..=published).contains(&serving),
            "seed {seed}, kill {kill}: {state:#}"
        );
        if kill % NEW_EVERY == 0 {
            published += 1;
            let next = site.pack(&light(published, ""));
            site.publish(&next);
        }
        let until = Instant::now() + Duration::from_millis(dice.throw(LATEST_MS));
        let feeder = daemon.feeder(4);
        let mut number = 0;
        while Instant::now() < until {
            number += 1;
            feeder
                .send(
                    "test",
                    "application/octet-stream",
                    &format!("{kill}-{number}"),
                    b"abc".to_vec(),
                )
                .expect("sent");
            if let Some(fed) = feeder.next(until.saturating_duration_since(Instant::now())) {
                assert!(
                    fed.result.is_ok(),
                    "seed {seed}, kill {kill}: {:?}",
                    fed.result
                );
            }
        }
        daemon.kill();
    }
    published += 1;
    let last = site.pack(&light(published, ""));
    site.publish(&last);
    let daemon = device.run();
    let started = Instant::now();
    daemon.feed_until(settled_on(published));
    assert!(started.elapsed() < DEADLINE);
}
