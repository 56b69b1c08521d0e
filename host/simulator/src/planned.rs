//! The plan of a simulated rollout.

use hotshoe_rollout::{Deadlines, DeviceId, Gate, OnFailure, Plan, Selector, Stage};
use hotshoe_trust::{Digest, Time};

use crate::settings::Settings;

/// The plan of a rollout of the whole fleet that begins at `now`.
pub fn plan(settings: &Settings, now: Time) -> Plan {
    let stage = |share_ppm| Stage {
        share_ppm,
        watch_s: settings.watch_s,
        gate: Gate {
            min_samples: settings.min_samples,
            ..Gate::default()
        },
    };
    let shares = std::iter::once(0).chain(settings.shares_ppm.iter().copied());
    let first = (0..settings.sites.min(3)).map(|site| DeviceId {
        site: format!("site-{site}"),
        name: format!("cam-{site}"),
    });
    let month_s = now.as_second().saturating_add(30 * 24 * 3_600);
    let expires = Time::from_second(month_s).unwrap_or(Time::MAX);
    Plan {
        rollout: 1,
        name: "ocr".to_owned(),
        release: Digest::of(b"new"),
        generation: 2,
        bundles: Vec::new(),
        previous: Digest::of(b"old"),
        seed: settings.seed,
        selector: Selector::default(),
        first: first.collect(),
        stages: shares.map(stage).collect(),
        // No simulated device puts a release off.
        deadlines: Deadlines {
            deferred_s: 3_600,
            ..Deadlines::default()
        },
        spread_s: settings.watch_s / 4,
        approve_between: false,
        on_failure: OnFailure::Abort,
        max_site_devices: u32::MAX.into(),
        compare: None,
        issued: now,
        expires,
    }
}
