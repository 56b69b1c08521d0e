//! One rollout after the other through the same fleet, with outages and quiet days between them.

use hotshoe_rollout::{Rollout, SiteDevices, place};

use crate::event::{Event, Woken};
use crate::world::World;

const DAY_MS: u64 = 24 * 3_600 * 1_000;
pub(crate) const WEEK_MS: u64 = 7 * DAY_MS;
/// How long an outage takes, in milliseconds: days.
const OUTAGE_MS: (u64, u64) = (DAY_MS, 6 * DAY_MS);

impl World {
    /// Another rollout takes the place of the present one, at all registries, controllers and devices. It fails on so many devices, in
    /// thousandths.
    pub(crate) fn replace(&mut self, begun: Rollout, bad_permille: u64) {
        let now = self.now();
        self.is_resting = false;
        // What was on its way is about the old plan.
        self.events
            .retain(|due| matches!(due.event, Event::Device(_, _, Woken::Started)));
        for site in &mut self.sites {
            site.rollout = begun.clone();
            site.counted = SiteDevices::since(0);
            for device in &mut site.devices {
                if let Some(placement) = place(begun.plan(), &device.identity) {
                    device.follow(placement, now);
                }
                device.is_bad = self.random.happens(bad_permille);
            }
        }
        self.begun = begun;
        self.begin();
    }

    /// The rollout has ended: only devices that have not are awake from now on, and those that start.
    pub(crate) fn rest(&mut self) {
        self.is_resting = true;
        self.events.retain(|due| {
            let event = &due.event;
            matches!(event, Event::Device(..) | Event::Stated(..))
        });
    }

    /// Of 1,000 devices, so many go off at some time of the next week, for days.
    pub(crate) fn plan_outages(&mut self, permille: u64) -> u64 {
        let now_ms = self.now_ms;
        let mut planned = Vec::new();
        for (site, of_site) in self.sites.iter_mut().enumerate() {
            for (number, device) in of_site.devices.iter_mut().enumerate() {
                let is_over = device.off_ms.is_none_or(|(_, until)| until <= now_ms);
                if is_over && self.random.happens(permille) {
                    let begins = now_ms.saturating_add(self.random.between(0, WEEK_MS - 1));
                    let (least, most) = OUTAGE_MS;
                    let ends = begins.saturating_add(self.random.between(least, most));
                    device.off_ms = Some((begins, ends));
                    planned.push((site, number, begins, ends));
                }
            }
        }
        let mut off_ms = 0_u64;
        for (site, device, begins, ends) in planned {
            off_ms = off_ms.saturating_add(ends - begins);
            self.schedule(ends, Event::Device(site, device, Woken::Started));
        }
        off_ms
    }
}
