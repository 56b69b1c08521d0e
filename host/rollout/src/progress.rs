//! How far a device is with the release of a plan, by its ledger.

use hotshoe_store::{Ledger, Phase};

use crate::plan::Plan;

/// The phase of the plan's release on a device, with the stable name of the cause; empty without one. `None` if the device knows nothing
/// of the release.
///
/// `working` is the phase in which the device works on the release, where the ledger does not have it.
pub fn progress<'l>(
    plan: &Plan,
    ledger: &'l Ledger,
    working: Option<Phase>,
) -> Option<(Phase, &'l str)> {
    let trial = ledger.trial.as_ref().map(|trial| trial.slot.release);
    if trial == Some(plan.release) {
        return Some((Phase::Trial, ""));
    }
    let live = ledger.live.as_ref().map(|slot| slot.release);
    if live == Some(plan.release) {
        return Some((Phase::Live, ""));
    }
    if let Some(phase) = working {
        return Some((phase, ""));
    }
    let failed = ledger.remembers(&plan.name, plan.generation, plan.release)?;
    if failed.release == plan.release {
        return Some((failed.phase, failed.cause.name.as_str()));
    }
    Some((Phase::Refused, "failed_before"))
}
