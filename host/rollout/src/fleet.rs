//! The newest counts of all registries, which is all that a controller knows.

use std::collections::BTreeMap;

use hotshoe_trust::Time;

use crate::{
    checks::within,
    count::Count,
    error::RolloutError,
    figures::{Figures, Tally},
    plan::MAX_SITES,
    share::Arm,
    signed::SignedPlan,
    times::seconds_between,
    verdict::ArmFigures,
};

/// Devices that must remain for a gate to be judged without one site: 20. Fewer say little.
pub const MIN_REMAINING_DEVICES: u64 = 20;
/// Most registries of one site.
const MAX_REGISTRIES: u64 = 16;

/// The newest count of each registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    sites: BTreeMap<String, BTreeMap<String, Heard>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Heard {
    count: Count,
    at: Time,
}

impl Fleet {
    /// Takes a count whose signature is that of the site's registry; whether it changed anything.
    ///
    /// # Errors
    /// [`RolloutError`], if it breaks a rule of the plan.
    pub fn hear(
        &mut self,
        plan: &SignedPlan,
        count: Count,
        now: Time,
    ) -> Result<bool, RolloutError> {
        count.check(plan)?;
        let sites = self.sites.len() as u64;
        if !self.sites.contains_key(&count.site) {
            within("the number of sites", sites + 1, 1, MAX_SITES as u64)?;
        }
        let registries = self.sites.entry(count.site.clone()).or_default();
        let number = registries.len() as u64;
        let Some(known) = registries.get_mut(&count.registry) else {
            within("the number of registries", number + 1, 1, MAX_REGISTRIES)?;
            let registry = count.registry.clone();
            registries.insert(registry, Heard { count, at: now });
            return Ok(true);
        };
        // An old count that is sent again is not a sign of life.
        if count.number <= known.count.number {
            return Ok(false);
        }
        *known = Heard { count, at: now };
        Ok(true)
    }

    /// The count that stands for each site. Its registries know the same devices, so one of them counts: that which hears most.
    fn counts(&self) -> impl Iterator<Item = &Heard> {
        self.sites.values().filter_map(|registries| {
            let mut all = registries.values();
            let first = all.next()?;
            Some(all.fold(first, |best, next| {
                let more = next.count.heard_devices() > best.count.heard_devices();
                if more { next } else { best }
            }))
        })
    }

    /// The figures of the devices that take the release by `stage`.
    pub fn figures(&self, plan: &SignedPlan, stage: u32, now: Time) -> Figures {
        let mut figures = Figures::default();
        let mut tallies = Vec::new();
        for Heard { count, at } in self.counts() {
            let is_dark = seconds_between(*at, now) > plan.deadlines.silent_s;
            let reached = count.cells.iter().filter(|cell| cell.stage <= stage);
            // Its devices of this stage are not counted yet.
            figures.behind += u64::from(count.stage < stage && !is_dark);
            let mut tally = Tally::default();
            for cell in reached {
                tally = tally.plus(figures.add(cell, is_dark));
            }
            tallies.push((count.site.clone(), tally));
        }
        // A site of the plan that nothing was heard of, while its registry may still be starting.
        if seconds_between(plan.issued, now) <= plan.deadlines.silent_s {
            let sites = plan.selector.sites.iter();
            let unheard = sites.filter(|site| !self.sites.contains_key(*site));
            figures.behind += unheard.count() as u64;
        }
        let whole = figures.whole;
        let without = tallies
            .into_iter()
            .map(|(site, tally)| (site, whole.minus(tally)));
        figures.without = without
            .filter(|(_, rest)| rest.total >= MIN_REMAINING_DEVICES && rest.total < whole.total)
            .collect();
        figures
    }

    /// The metric of both arms of the comparison, new and kept, of each site.
    pub(crate) fn site_arms(&self) -> impl Iterator<Item = [ArmFigures; 2]> {
        self.counts().map(|heard| {
            let arm = |arm| heard.count.arms.get(&arm).copied().unwrap_or_default();
            [arm(Arm::New), arm(Arm::Kept)]
        })
    }

    /// The metric of one arm of the comparison, over all sites.
    pub fn arm(&self, arm: Arm) -> ArmFigures {
        let mut sum = ArmFigures::default();
        for heard in self.counts() {
            if let Some(more) = heard.count.arms.get(&arm) {
                sum.merge(more);
            }
        }
        sum
    }
}
