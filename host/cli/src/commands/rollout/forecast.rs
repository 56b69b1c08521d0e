//! What a device would do with a release, by what its status says before it is published.

use hotshoe_protocol::status::{DeployStatus, HardwareStatus, Status};
use hotshoe_store::Phase;
use hotshoe_trust::{Device, Digest, Release};
use serde::Serialize;

/// What a device would do with a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "why", rename_all = "kebab-case")]
pub(super) enum Forecast {
    /// It takes the release.
    Takes,
    /// It has the release already.
    Has,
    /// It would put the release off now.
    Defers(String),
    /// It would refuse the release.
    Refuses(String),
}

impl Forecast {
    /// What the device with this status would do with `release`, whose manifest has this digest.
    pub(super) fn of(status: &Status, device: &Device, release: &Release, digest: Digest) -> Self {
        if let Err(why) = release.devices.matches(device) {
            return Self::Refuses(why);
        }
        if let Some(why) = other_version(&status.version, release) {
            return Self::Refuses(why);
        }
        let hardware = status.hardware.as_ref().map(HardwareStatus::hardware);
        let lacking = hardware.and_then(|hardware| release.requires.lacking(&hardware));
        if let Some(why) = lacking {
            return Self::Refuses(why);
        }
        let live = status.slots.live.as_ref();
        let live = live.filter(|live| live.name == release.name);
        match live {
            Some(live) if live.release == digest => return Self::Has,
            Some(live) if live.generation > release.generation => {
                let has = live.generation;
                return Self::Refuses(format!("it has generation {has} already"));
            }
            _ => {}
        }
        if let Some(why) = failed_before(&status.deploy, digest) {
            return Self::Refuses(why);
        }
        match status.deferral.as_deref() {
            None => Self::Takes,
            Some("window") => Self::Defers("its deployment window is closed".to_owned()),
            Some("battery") => Self::Defers("its battery is low".to_owned()),
            Some(other) => Self::Defers(other.to_owned()),
        }
    }

    /// The outcome in one word, and why.
    pub(super) const fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Takes => ("takes", ""),
            Self::Has => ("has", ""),
            Self::Defers(why) => ("defers", why.as_str()),
            Self::Refuses(why) => ("refuses", why.as_str()),
        }
    }
}

fn other_version(version: &str, release: &Release) -> Option<String> {
    let version = version.parse().ok()?;
    let needed = &release.hotshoe;
    let text = || format!("it has Hotshoe {version}, and the release needs {needed}");
    (!needed.matches(&version)).then(text)
}

/// A device remembers a release that failed on it, and refuses it from then on.
fn failed_before(deploy: &DeployStatus, digest: Digest) -> Option<String> {
    let is_it = deploy.release == Some(digest);
    if !is_it || !matches!(deploy.phase, Phase::Failed | Phase::RolledBack) {
        return None;
    }
    let cause = deploy.cause.as_ref();
    let cause = cause.map_or("no cause", |cause| cause.name.as_str());
    Some(format!(
        "it failed there before ({cause}); see `hotshoe rollout retry --failed`"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    fn release() -> Release {
        let value = json!({
            "name": "ocr", "generation": 2, "hotshoe": ">=0.1.0",
            "issued": "2026-01-01T00:00:00Z", "expires": "2027-01-01T00:00:00Z",
            "devices": { "labels": { "line": "4" } }, "requires": { "cores": 4 },
            "components": {}, "pipeline": [],
        });
        serde_json::from_value(value).unwrap()
    }

    fn digest() -> Digest {
        Digest::of(b"release")
    }

    /// What a device says whose status has these changes, by pointer.
    fn said(changes: &[(&str, Value)]) -> Forecast {
        let mut status = json!({
            "site": "lab", "device": "one", "version": "0.1.0", "labels": {"line": "4"}, "release": null,
            "slots": {"live": null, "previous": null, "staged": null, "trial": null},
            "deploy": {
                "phase": "absent", "release": null, "name": null, "generation": null, "fetched": 0, "total": 0,
                "cause": null, "waiting": null,
            },
            "last_rollback": null, "health": null, "trust_version": 1,
            "swaps": 0, "rollbacks": 0, "refused": {}, "ignored": {}, "last_swap_ns": null, "stale": false,
            "uptime_s": 1, "workers": 1, "queue": {"len": 0, "capacity": 1, "policy": "block"},
            "counters": hotshoe_protocol::status::Counters::default(), "stages": [],
            "session": {"id": "1", "locators": [], "peers": 0},
        });
        for (name, value) in changes {
            status[*name] = value.clone();
        }
        let status: Status = serde_json::from_value(status).unwrap();
        let device = Device {
            name: status.device.clone(),
            site: status.site.clone(),
            labels: status.labels.clone(),
        };
        Forecast::of(&status, &device, &release(), digest())
    }

    fn live(generation: u64, release: Digest) -> Value {
        let slot = json!({
            "release": release, "name": "ocr", "generation": generation, "installed": "2026-01-01T00:00:00Z",
        });
        json!({"live": slot, "previous": null, "staged": null, "trial": null})
    }

    #[track_caller]
    fn assert_refuses(changes: &[(&str, Value)], part: &str) {
        let forecast = said(changes);
        let (word, why) = forecast.words();
        assert_eq!(word, "refuses");
        assert!(why.contains(part), "{why}");
    }

    #[test]
    fn a_device_takes_what_it_does_not_have() {
        assert_eq!(said(&[]), Forecast::Takes);
        let other = live(1, Digest::of(b"other"));
        assert_eq!(said(&[("slots", other)]), Forecast::Takes);
        assert_eq!(said(&[("slots", live(2, digest()))]), Forecast::Has);
    }

    #[test]
    fn a_refusal_says_why() {
        assert_refuses(&[("labels", json!({"line": "5"}))], "line");
        assert_refuses(&[("version", json!("0.0.9"))], "needs");
        let small = json!({"class": "x86_64", "architecture": "x86_64", "cores": 2});
        assert_refuses(&[("hardware", small)], "2 cores, not 4");
        let newer = live(3, Digest::of(b"other"));
        assert_refuses(&[("slots", newer)], "generation 3");
        let deploy = json!({
            "phase": "rolled-back", "release": digest(), "name": "ocr", "generation": 2, "fetched": 0, "total": 0,
            "cause": {"name": "trap_rate", "message": "m"}, "waiting": null,
        });
        assert_refuses(&[("deploy", deploy)], "trap_rate");
    }

    #[test]
    fn a_device_that_puts_releases_off_says_why() {
        for (deferral, part) in [
            ("window", "window"),
            ("battery", "battery"),
            ("later", "later"),
        ] {
            let forecast = said(&[("deferral", json!(deferral))]);
            let (word, why) = forecast.words();
            assert_eq!(word, "defers");
            assert!(why.contains(part), "{why}");
        }
    }
}
