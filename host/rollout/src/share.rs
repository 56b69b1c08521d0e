//! Membership: each device decides by a hash, so that no table of devices must be kept consistent.

use hotshoe_trust::{Device, Hasher};
use serde::{Deserialize, Serialize};

use crate::{
    checks::WHOLE_PPM,
    plan::{DeviceId, Plan, Stage},
};

/// Prefix of what is hashed.
const PREFIX: &[u8] = b"hotshoe-rollout-v1";

/// What a device is compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// It takes the release with its stage.
    New,
    /// It keeps the previous release through the stages of the comparison.
    Kept,
}

/// The place of a device in a rollout. It depends only on the plan and the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Its first stage.
    pub stage: u32,
    /// Its arm of the comparison; `New` without one.
    pub arm: Arm,
    /// Seconds from the start of its stage to its own start.
    pub starts_after_s: u64,
}

impl Placement {
    /// The stage in which it takes the release: later than its own if it keeps the previous one for a comparison, `None` if it keeps it
    /// to the end.
    pub fn takes_at(&self, plan: &Plan) -> Option<u32> {
        match (&plan.compare, self.arm) {
            (Some(compare), Arm::Kept) => {
                let after = compare.through_stage.saturating_add(1).max(self.stage);
                (after <= plan.last_stage()).then_some(after)
            }
            _ => Some(self.stage),
        }
    }
}

/// The place of `device`; `None` if the plan is not for it.
pub fn place(plan: &Plan, device: &Device) -> Option<Placement> {
    if !plan.selector.matches(device) {
        return None;
    }
    let id = DeviceId::of(device);
    let stage = if plan.first.contains(&id) {
        0
    } else {
        let drawn = scaled(plan.seed, b"share", &id, WHOLE_PPM.into());
        let is_member = |stage: &Stage| drawn < u64::from(stage.share_ppm);
        u32::try_from(plan.stages.iter().position(is_member)?).ok()?
    };
    let arm = match plan.compare {
        Some(_) if scaled(plan.seed, b"arm", &id, 2) == 0 => Arm::Kept,
        _ => Arm::New,
    };
    Some(Placement {
        stage,
        arm,
        starts_after_s: scaled(plan.seed, b"start", &id, plan.spread_s.max(1)),
    })
}

/// A number from 0 to `below - 1` that is drawn evenly by the hash of the seed, the purpose and the device.
pub(crate) fn scaled(seed: u64, purpose: &[u8], device: &DeviceId, below: u64) -> u64 {
    let mut hasher = Hasher::new();
    hasher.update(PREFIX);
    hasher.update(&seed.to_be_bytes());
    for part in [purpose, device.site.as_bytes(), device.name.as_bytes()] {
        // With their lengths, so that no two lists of parts are the same bytes.
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finish();
    let drawn = digest
        .bytes()
        .first_chunk()
        .map_or(0, |first: &[u8; 8]| u64::from_be_bytes(*first));
    // The upper half of the product: at most `below - 1`.
    u64::try_from((u128::from(drawn) * u128::from(below)) >> 64).unwrap_or(0)
}
