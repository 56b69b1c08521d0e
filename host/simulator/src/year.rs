//! A year of weekly releases through one fleet, in which devices are off for days, the power is cut, releases are bad or withdrawn, and
//! an attacker has one of the deployers' keys.

use std::collections::BTreeSet;
use std::time::Duration;

use hotshoe_rollout::{End, Plan};
use hotshoe_trust::{Digest, verify_installed};

use crate::attacker::Attacker;
use crate::deployers::{Deployers, HOST};
use crate::device::SimulatedDevice;
use crate::figures::SimulationError;
use crate::planned::plan;
use crate::settings::{Faults, Settings};
use crate::weeks::WEEK_MS;
use crate::world::World;

/// Most rollouts of one release: a device of the first stage may be off.
const ATTEMPTS: u32 = 5;
/// Longest time of one rollout.
const ROLLOUT_LIMIT: Duration = Duration::from_secs(2 * 24 * 3_600);
/// How long a device must have been on until it counts: a day, in milliseconds.
const COUNTED_MS: u64 = 24 * 3_600 * 1_000;
/// Time after the order to go back.
const BACK: Duration = Duration::from_secs(600);
const ALL_PERMILLE: u64 = 1_000;

/// A year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YearSettings {
    /// Number of devices.
    pub devices: usize,
    /// Number of sites.
    pub sites: usize,
    /// What everything follows from.
    pub seed: u64,
    /// Number of weeks, each with a release. A quarter through it, a release is bad; halfway, one is withdrawn after it reached all;
    /// after three quarters, a stolen key is revoked.
    pub weeks: u64,
    /// Devices that go off in a week, for 1 to 6 days, in thousandths.
    pub off_permille: u64,
    /// Power cuts of a device in each step of an update, in thousandths.
    pub cut_permille: u64,
}

impl YearSettings {
    /// 52 weeks, in which 5% of the devices are off at any time, and with power cuts in 1% of the steps of updates.
    pub const fn new(devices: usize, sites: usize, seed: u64) -> Self {
        Self {
            devices,
            sites,
            seed,
            weeks: 52,
            off_permille: 105,
            cut_permille: 10,
        }
    }
}

/// What came of a year.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct YearFigures {
    /// Rollouts that began.
    pub rollouts: u64,
    /// Of these, those that passed all stages.
    pub done: u64,
    /// Releases times devices that had been on for a day at the end of a release's week.
    pub due: u64,
    /// Of these, those that served the newest release.
    pub updated: u64,
    /// Devices that serve the newest release a week after the last rollout, when all are on.
    pub newest: u64,
    /// Mean share of devices that are off, in millionths.
    pub off_ppm: u64,
    /// Power cuts within updates.
    pub cuts: u64,
    /// Forged and old plans and releases that were tried on devices.
    pub attacks: u64,
    /// Of these, those that a device accepted, and devices that serve what no deployers signed.
    pub unsigned: u64,
    /// Devices that serve a withdrawn release a week later.
    pub withdrawn: u64,
    /// Devices that have no release that their trusted keys allow.
    pub bricked: u64,
}

/// Simulates a year.
///
/// # Errors
/// [`SimulationError`].
pub fn year(settings: &YearSettings) -> Result<YearFigures, SimulationError> {
    let mut year = Year::new(settings)?;
    for week in 0..settings.weeks {
        year.week(week)?;
    }
    year.end()
}

struct Year<'s> {
    settings: &'s YearSettings,
    world: World,
    figures: YearFigures,
    /// The newest release that was not withdrawn, with its generation.
    good: Digest,
    generation: u64,
    withdrawn: BTreeSet<Digest>,
    off_ms: u64,
}

impl<'s> Year<'s> {
    fn new(settings: &'s YearSettings) -> Result<Self, SimulationError> {
        let faults = Faults {
            cut_permille: settings.cut_permille,
            ..Faults::default()
        };
        // Two of three keys must sign; one of the three is stolen.
        let mut world = World::of(
            Settings {
                watch_s: 600,
                faults,
                ..Settings::new(settings.devices, settings.sites, settings.seed)
            },
            Deployers::new(2, 1)?,
        )?;
        let now = world.now();
        world.attacker = Some(Attacker::new(&world.deployers, world.begun.plan(), now)?);
        Ok(Self {
            settings,
            good: world.begun.plan().previous,
            generation: world.begun.plan().generation,
            world,
            figures: YearFigures::default(),
            withdrawn: BTreeSet::new(),
            off_ms: 0,
        })
    }

    fn week(&mut self, week: u64) -> Result<(), SimulationError> {
        let weeks = self.settings.weeks;
        let ends_ms = self.world.now_ms.saturating_add(WEEK_MS);
        self.off_ms += self.world.plan_outages(self.settings.off_permille);
        if week == weeks * 3 / 4 {
            self.revoke()?;
        }
        let (is_bad, is_withdrawn) = (week == weeks / 4, week == weeks / 2);
        self.generation += 1;
        let now = self.world.now();
        let release = self.world.deployers.release(self.generation, now)?;
        let is_done = self.roll_out(release, is_bad)?;
        if is_done && is_withdrawn {
            self.world.say(self.world.reversal())?;
            self.world.run_for(BACK)?;
        }
        self.world.rest();
        let left_ms = ends_ms.saturating_sub(self.world.now_ms);
        self.world.run_for(Duration::from_millis(left_ms))?;
        if is_done && !is_withdrawn {
            self.good = release;
            self.count(release);
        }
        self.inspect();
        if is_withdrawn || is_bad {
            self.withdrawn.insert(release);
        }
        let now = self.world.now();
        if let Some(attacker) = &mut self.world.attacker {
            let text = self.world.begun.text();
            attacker.remember(text, &self.world.deployers, now)?;
        }
        Ok(())
    }

    /// Rolls a release out, again with other devices where too few of them are on; whether it passed all stages.
    fn roll_out(&mut self, release: Digest, is_bad: bool) -> Result<bool, SimulationError> {
        let bad_permille = if is_bad { ALL_PERMILLE } else { 0 };
        for _ in 0..ATTEMPTS {
            let now = self.world.now();
            let standard = plan(&self.world.settings, now);
            let number = self.world.begun.plan().rollout.saturating_add(1);
            let plan = Plan {
                rollout: number,
                seed: self.settings.seed.wrapping_add(number),
                release,
                generation: self.generation,
                previous: self.good,
                first: self.world.first_on(standard.first.len()),
                ..standard
            };
            let begun = self.world.deployers.rollout(&plan, now)?;
            self.world.replace(begun, bad_permille);
            self.figures.rollouts += 1;
            match self.world.run(ROLLOUT_LIMIT)? {
                Some(End::Done) => {
                    self.figures.done += 1;
                    return Ok(true);
                }
                Some(End::Paused(_)) => {}
                Some(End::Aborted(_) | End::Reversed(_)) | None => return Ok(false),
            }
        }
        Ok(false)
    }

    /// The stolen key is trusted no more by devices that are on; the others learn it when they start.
    fn revoke(&mut self) -> Result<(), SimulationError> {
        self.world.deployers.revoke_others()?;
        let (now, now_ms) = (self.world.now(), self.world.now_ms);
        for site in &mut self.world.sites {
            for device in site.devices.iter_mut().filter(|it| !it.is_off(now_ms)) {
                self.world.deployers.renew(device, now);
            }
        }
        Ok(())
    }

    /// Counts the devices that had the time to update.
    fn count(&mut self, release: Digest) {
        let now_ms = self.world.now_ms;
        for device in self.world.devices() {
            if was_on(device, now_ms) {
                self.figures.due += 1;
                self.figures.updated += u64::from(serves(device) == Some(release));
            }
        }
    }

    /// Looks for what must not be.
    fn inspect(&mut self) {
        let world = &self.world;
        let trust = world.deployers.trust();
        let mut usable = BTreeSet::new();
        for device in world.devices() {
            let Some(release) = serves(device) else {
                self.figures.bricked += 1;
                continue;
            };
            let Some(verified) = world.deployers.verified(release) else {
                self.figures.unsigned += 1;
                continue;
            };
            // The same for all devices.
            if !usable.contains(&release) {
                let (package, identity) = (verified.package(), &device.identity);
                match verify_installed(package, trust, release, identity, &HOST) {
                    Ok(_) => {
                        usable.insert(release);
                    }
                    Err(_) => self.figures.bricked += 1,
                }
            }
            let is_old = self.withdrawn.contains(&release) && was_on(device, world.now_ms);
            self.figures.withdrawn += u64::from(is_old);
        }
    }

    /// A week without a release, after which all devices are on.
    fn end(mut self) -> Result<YearFigures, SimulationError> {
        self.world.run_for(Duration::from_millis(WEEK_MS))?;
        self.inspect();
        let mut figures = self.figures;
        let newest = self.good;
        let on_newest = |it: &&SimulatedDevice| serves(it) == Some(newest);
        figures.newest = self.world.devices().filter(on_newest).count() as u64;
        figures.cuts = self.world.devices().map(|it| it.cuts).sum();
        if let Some(attacker) = &self.world.attacker {
            figures.attacks = attacker.tried;
            figures.unsigned += attacker.accepted;
        }
        let all_ms = (self.settings.devices as u64)
            .saturating_mul(self.settings.weeks)
            .saturating_mul(WEEK_MS)
            .max(1);
        let off = u128::from(self.off_ms) * 1_000_000 / u128::from(all_ms);
        figures.off_ppm = u64::try_from(off).unwrap_or(u64::MAX);
        Ok(figures)
    }
}

/// The release that a device serves.
fn serves(device: &SimulatedDevice) -> Option<Digest> {
    let ledger = &device.ledger;
    let trial = ledger.trial.as_ref().map(|trial| trial.slot.release);
    trial.or_else(|| ledger.live.as_ref().map(|slot| slot.release))
}

/// Whether a device has been on for a day.
fn was_on(device: &SimulatedDevice, now_ms: u64) -> bool {
    let since_ms = now_ms.saturating_sub(COUNTED_MS);
    let off_ms = device.off_ms;
    off_ms.is_none_or(|(from, until)| until <= since_ms || from > now_ms)
}
