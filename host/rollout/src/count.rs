//! The count of a registry: its devices by stage, state, cause and hardware class, with their health.

use std::collections::BTreeMap;

use hotshoe_trust::{Digest, PartError, Time, strict_json};
use serde::{Deserialize, Serialize};

use crate::{
    cell::Cell, checks::check_text, control::Control, error::RolloutError, health::Health,
    report::Tracked, share::Arm, signed::SignedPlan, state::State, verdict::ArmFigures,
};

/// Largest count, in bytes: 4 MiB.
pub const MAX_COUNT_BYTES: u64 = 4 << 20;
/// Most cells of one count.
pub const MAX_CELLS: usize = 4_096;

/// Stage, state, whether it is open, cause, class.
type Key<'t> = (u32, State, bool, &'t str, &'t str);

/// What a registry publishes about a rollout, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Count {
    /// The digest of the plan.
    pub plan: Digest,
    /// Its site.
    pub site: String,
    /// Its name.
    pub registry: String,
    /// Its number: of two counts of one registry, the higher applies.
    pub number: u64,
    /// When it was made, by the registry's clock.
    pub at: Time,
    /// The highest stage that the registry had heard of: devices of later stages are not in it.
    #[serde(default)]
    pub stage: u32,
    /// The devices that the rollout has reached.
    pub cells: Vec<Cell>,
    /// The metric of the comparison, by arm.
    #[serde(default)]
    pub arms: BTreeMap<Arm, ArmFigures>,
}

impl Count {
    /// The count of `devices` by `now`. Causes beyond [`MAX_CELLS`] cells are counted without their name.
    pub fn of<'t>(
        plan: &SignedPlan,
        control: &Control,
        (site, registry): (&str, &str),
        (number, now): (u64, Time),
        devices: impl IntoIterator<Item = &'t Tracked>,
    ) -> Self {
        let mut cells: BTreeMap<Key<'t>, (u64, Health, Health)> = BTreeMap::new();
        let mut arms: BTreeMap<Arm, ArmFigures> = BTreeMap::new();
        let compare = plan.compare.as_ref();
        let compared = compare.map(|it| it.through_stage.min(control.stage()));
        for device in devices {
            // Later ones take the release with their stage, in both arms.
            if compared.is_some_and(|last| device.placement.stage <= last) {
                let arm = arms.entry(device.placement.arm).or_default();
                arm.merge(&device.metric);
            }
            let Some(concluded) = device.conclude(plan, control, now) else {
                continue;
            };
            let stage = device.placement.takes_at(plan).unwrap_or(u32::MAX);
            let (state, open) = (concluded.state, concluded.is_open);
            let mut key: Key<'t> = (stage, state, open, concluded.cause, device.class.as_str());
            // Names from devices must not fill the memory; numbers of stages and states are bounded.
            if cells.len() >= MAX_CELLS / 2 && !cells.contains_key(&key) {
                (key.3, key.4) = ("other", "other");
            }
            let (devices, health, baseline) = cells.entry(key).or_default();
            *devices += 1;
            health.merge(&device.health);
            baseline.merge(&device.baseline);
        }
        let cell = |(key, value): (Key<'_>, (u64, Health, Health))| Cell {
            stage: key.0,
            state: key.1,
            open: key.2,
            cause: key.3.to_owned(),
            class: key.4.to_owned(),
            devices: value.0,
            health: value.1,
            baseline: value.2,
        };
        Self {
            plan: plan.digest(),
            site: site.to_owned(),
            registry: registry.to_owned(),
            number,
            at: now,
            stage: control.stage(),
            cells: cells.into_iter().map(cell).collect(),
            arms,
        }
    }

    /// Parses a count. [`crate::Fleet::hear`] checks it against its plan.
    ///
    /// # Errors
    /// [`RolloutError::Part`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RolloutError> {
        let count = strict_json::parse(bytes, MAX_COUNT_BYTES);
        Ok(count.map_err(|source| PartError::of("count", source))?)
    }

    /// Number of devices; `None` if that is too large for a number.
    fn devices(&self) -> Option<u64> {
        let mut cells = self.cells.iter();
        cells.try_fold(0_u64, |sum, cell| sum.checked_add(cell.devices))
    }

    /// Number of devices that gave a value of the metric; `None` if that is too large for a number.
    fn compared(&self) -> Option<u64> {
        let mut arms = self.arms.values();
        arms.try_fold(0_u64, |sum, arm| sum.checked_add(arm.samples))
    }

    /// Number of devices that are heard of.
    pub(crate) fn heard_devices(&self) -> u64 {
        let heard = self.cells.iter().filter(|cell| cell.state != State::Silent);
        heard.fold(0, |sum, cell| sum.saturating_add(cell.devices))
    }

    pub(crate) fn check(&self, plan: &SignedPlan) -> Result<(), RolloutError> {
        if self.plan != plan.digest() {
            return Err(RolloutError::OtherPlan {
                own: plan.digest(),
                found: self.plan,
            });
        }
        check_text("site", &self.site)?;
        check_text("registry", &self.registry)?;
        let sites = &plan.selector.sites;
        let is_bad_cell = |cell: &Cell| {
            let is_text = |text: &str| text.is_empty() || check_text("name", text).is_ok();
            cell.stage > plan.last_stage()
                || (cell.open && cell.state.is_end())
                || !(is_text(&cell.cause) && is_text(&cell.class))
                || !(cell.health.is_valid() && cell.baseline.is_valid())
        };
        let reason = if !sites.is_empty() && !sites.contains(&self.site) {
            "the plan is not for this site"
        } else if self.cells.len() > MAX_CELLS {
            "it has too many cells"
        } else if self.devices().is_none_or(|all| all > plan.max_site_devices) {
            "it has more devices than the plan allows for one site"
        } else if self.cells.iter().any(is_bad_cell) {
            "a cell contradicts itself or the plan"
        } else if !self.arms.values().all(ArmFigures::is_valid) {
            "the metric is out of range"
        } else if self
            .compared()
            .is_none_or(|all| all > plan.max_site_devices)
        {
            "it compares more devices than the plan allows for one site"
        } else {
            return Ok(());
        };
        Err(RolloutError::InvalidCount {
            site: self.site.clone(),
            reason,
        })
    }
}
