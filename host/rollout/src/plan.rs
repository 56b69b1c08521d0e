//! The plan of a rollout: everything that its signers agree to.

use hotshoe_trust::{Device, DeviceSelector, Digest, ReleaseLimits, Time};
use serde::{Deserialize, Serialize};

use crate::{
    checks::{WHOLE_PPM, check_shown, check_text, within},
    error::RolloutError,
    gate::Gate,
};

/// Largest text of a plan, in bytes: 256 KiB.
pub const MAX_PLAN_BYTES: u64 = 256 << 10;
/// Most devices of stage 0.
pub const MAX_FIRST: usize = 256;
/// Most stages, with stage 0.
pub const MAX_STAGES: usize = 16;
/// Most sites that a selector names.
pub const MAX_SITES: usize = 1_024;
/// Samples of a device that make its value of a comparison, by default: 100.
pub const DEFAULT_COMPARED_SAMPLES: u64 = 100;
/// Least number of such samples: 20. A mean of fewer says something of a single one.
pub const MIN_COMPARED_SAMPLES: u64 = 20;
/// Most such samples: 1,000,000.
pub const MAX_COMPARED_SAMPLES: u64 = 1_000_000;
/// Longest wait that a plan may contain, in seconds: 30 days.
pub const MAX_WAIT_S: u64 = 30 * 24 * 3_600;

/// A device of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DeviceId {
    /// Its site.
    pub site: String,
    /// Its name there.
    pub name: String,
}

impl DeviceId {
    /// The identity of `device`.
    pub fn of(device: &Device) -> Self {
        Self {
            site: device.site.clone(),
            name: device.name.clone(),
        }
    }
}

/// The devices that a rollout is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Selector {
    /// Their sites. Empty: any site.
    #[serde(default)]
    pub sites: Vec<String>,
    /// Their names and labels.
    #[serde(default)]
    pub devices: DeviceSelector,
}

impl Selector {
    /// Whether `device` is one of them.
    pub fn matches(&self, device: &Device) -> bool {
        (self.sites.is_empty() || self.sites.contains(&device.site))
            && self.devices.matches(device).is_ok()
    }
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stage {
    /// The share of the selected devices that have the release by the end of this stage, in millionths. 0 for stage 0, whose
    /// devices are listed.
    pub share_ppm: u32,
    /// Least time before the next stage, in seconds.
    pub watch_s: u64,
    /// What must be true of all devices so far.
    pub gate: Gate,
}

/// How long a device may be in each state, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Deadlines {
    /// Since its stage began, after its own offset.
    pub waiting_s: u64,
    /// In `fetching`.
    pub fetching_s: u64,
    /// In `proving`.
    pub proving_s: u64,
    /// In `trial`.
    pub trial_s: u64,
    /// In `deferred`.
    pub deferred_s: u64,
    /// Without a report, in any state that is not an end.
    pub silent_s: u64,
}

impl Default for Deadlines {
    /// An hour, an hour, 10 minutes, an hour, a day; silent after 15 minutes.
    fn default() -> Self {
        Self {
            waiting_s: 3_600,
            fetching_s: 3_600,
            proving_s: 600,
            trial_s: 3_600,
            deferred_s: 24 * 3_600,
            silent_s: 900,
        }
    }
}

impl Deadlines {
    /// The longest way of a device from the start of its stage to an end, in seconds.
    fn total_s(&self) -> u64 {
        [
            self.waiting_s,
            self.fetching_s,
            self.proving_s,
            self.trial_s,
            self.deferred_s,
            self.silent_s,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

/// What a controller does when a gate fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The rollout waits for an operator.
    #[default]
    Pause,
    /// The rollout ends.
    Abort,
}

/// A comparison by device: half of the members keep the previous release at first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Compare {
    /// The metric of insights, a number from 0 to 1 of which more is better, such as `mean(lines.*.score)`.
    pub metric: String,
    /// Samples of a device that make its value, which is their mean. Default: 100.
    #[serde(default = "default_compared_samples")]
    pub samples: u64,
    /// The last stage in which the half keeps the previous release.
    pub through_stage: u32,
    /// False-positive rate under continuous peeking, in millionths.
    pub alpha_ppm: u32,
}

const fn default_compared_samples() -> u64 {
    DEFAULT_COMPARED_SAMPLES
}

/// A rollout, as its signers see it. [`crate::read_plan`] alone makes one that may be followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    /// Its number: of two plans for one release name, the higher applies, then the lower digest.
    pub rollout: u64,
    /// The release's name.
    pub name: String,
    /// The digest of its manifest.
    pub release: Digest,
    /// Its generation.
    pub generation: u64,
    /// The digests of its signature bundles.
    pub bundles: Vec<Digest>,
    /// The digest of the manifest of the release before it, for comparisons and for a reversal.
    pub previous: Digest,
    /// What the shares are drawn with.
    pub seed: u64,
    /// The devices that it is for.
    #[serde(default)]
    pub selector: Selector,
    /// The devices of stage 0.
    pub first: Vec<DeviceId>,
    /// The stages, from stage 0 on.
    pub stages: Vec<Stage>,
    /// How long a device may be in each state.
    pub deadlines: Deadlines,
    /// Starts of one stage are spread over so many seconds.
    pub spread_s: u64,
    /// Whether an operator approves each next stage.
    #[serde(default)]
    pub approve_between: bool,
    /// What a failed gate does.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Most devices that a count of one site may have. A count with more is refused.
    pub max_site_devices: u64,
    /// A comparison by device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
    /// When it was issued, which begins stage 0.
    pub issued: Time,
    /// When it expires: no device begins, and no stage follows.
    pub expires: Time,
}

impl Plan {
    /// The number of the last stage.
    pub fn last_stage(&self) -> u32 {
        u32::try_from(self.stages.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// A stage by its number.
    pub fn stage(&self, stage: u32) -> Option<&Stage> {
        self.stages.get(usize::try_from(stage).ok()?)
    }

    /// The earliest start of a stage by the signed watch times, in seconds since [`Plan::issued`]: no statement outruns it.
    pub fn earliest_s(&self, stage: u32) -> u64 {
        let before = usize::try_from(stage).unwrap_or(usize::MAX);
        let watched = self.stages.iter().take(before).map(|stage| stage.watch_s);
        watched.fold(0, u64::saturating_add)
    }

    /// The time after which a stage ends in any case, in seconds since it began.
    pub fn stage_deadline_s(&self, stage: u32) -> u64 {
        let watch_s = self.stage(stage).map_or(0, |stage| stage.watch_s);
        let longest_s = self.deadlines.total_s();
        watch_s
            .saturating_add(self.spread_s)
            .saturating_add(longest_s)
    }

    /// Checks the rules that the types do not enforce.
    pub(crate) fn check(&self) -> Result<(), RolloutError> {
        check_text("release", &self.name)?;
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let limit = count(MAX_STAGES);
        within("the number of stages", count(self.stages.len()), 1, limit)?;
        let limit = count(MAX_FIRST);
        within(
            "the number of devices in `first`",
            count(self.first.len()),
            1,
            limit,
        )?;
        let limit = ReleaseLimits::BUNDLES;
        within("the number of bundles", count(self.bundles.len()), 0, limit)?;
        let limit = count(MAX_SITES);
        within(
            "the number of sites",
            count(self.selector.sites.len()),
            0,
            limit,
        )?;
        let names = &self.selector.devices.names;
        let limit = ReleaseLimits::PATTERNS;
        within("the number of name patterns", count(names.len()), 0, limit)?;
        for pattern in names {
            let limit = ReleaseLimits::PATTERN_BYTES;
            within(
                "the length of a name pattern",
                count(pattern.len()),
                1,
                limit,
            )?;
        }
        for id in &self.first {
            check_text("site", &id.site)?;
            check_text("device", &id.name)?;
        }
        for site in &self.selector.sites {
            check_text("site", site)?;
        }
        if self.release == self.previous {
            return Err(RolloutError::SameRelease {
                release: self.release,
            });
        }
        if self.expires <= self.issued {
            return Err(RolloutError::ExpiresTooSoon {
                issued: self.issued,
            });
        }
        within(
            "max-site-devices",
            self.max_site_devices,
            1,
            u64::from(u32::MAX),
        )?;
        self.check_stages()?;
        self.check_times()
    }

    fn check_stages(&self) -> Result<(), RolloutError> {
        let mut least = 0;
        for (at, stage) in self.stages.iter().enumerate() {
            let most = if at == 0 { 0 } else { WHOLE_PPM };
            within("share-ppm", stage.share_ppm.into(), least, most.into())?;
            least = stage.share_ppm.into();
            within("watch-s", stage.watch_s, 0, MAX_WAIT_S)?;
            stage.gate.check()?;
        }
        if let Some(compare) = &self.compare {
            check_shown("metric", &compare.metric)?;
            let (least, most) = (MIN_COMPARED_SAMPLES, MAX_COMPARED_SAMPLES);
            within("the samples of a comparison", compare.samples, least, most)?;
            within("alpha-ppm", compare.alpha_ppm.into(), 1, 500_000)?;
            let last = self.last_stage().into();
            within("through-stage", compare.through_stage.into(), 0, last)?;
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), RolloutError> {
        within("spread-s", self.spread_s, 0, MAX_WAIT_S)?;
        let deadlines = &self.deadlines;
        for (what, seconds) in [
            ("waiting-s", deadlines.waiting_s),
            ("fetching-s", deadlines.fetching_s),
            ("proving-s", deadlines.proving_s),
            ("trial-s", deadlines.trial_s),
            ("deferred-s", deadlines.deferred_s),
            ("silent-s", deadlines.silent_s),
        ] {
            within(what, seconds, 1, MAX_WAIT_S)?;
        }
        Ok(())
    }
}
