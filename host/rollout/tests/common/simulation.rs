//! A fleet under a virtual clock: devices, a registry for each site, and two controllers, over a network that loses and repeats. All
//! decisions are those of the crate.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use hotshoe_rollout::{
    Action, Control, Count, DeviceId, End, Fleet, Health, Placement, Plan, Report, SignedPlan,
    SignedStatement, Situation, State, Tracked, Wanted, judge, place, project, step,
};
use hotshoe_store::Phase;

use crate::common::{Keys, at, device};

/// Seconds of one round.
pub(crate) const ROUND_S: u64 = 30;

/// Numbers that follow from a seed (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn happens(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// What goes wrong, in percent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Devices that are off from the start.
    pub off: u64,
    /// Devices on which the release fails its trial, apart from those of stage 0.
    pub bad: u64,
    /// Messages that are lost.
    pub lost: u64,
    /// Devices that join only after `JOINS_AFTER` rounds.
    pub late: u64,
    /// Rounds in which a controller dies and begins with nothing.
    pub dies: u64,
    /// Sites whose registry goes silent after `JOINS_AFTER` rounds.
    pub dark: u64,
}

const JOINS_AFTER: u64 = 20;

pub(crate) struct SimulatedDevice {
    placement: Placement,
    pub phase: Phase,
    pub is_touched: bool,
    pub is_off: bool,
    is_bad: bool,
    is_late: bool,
    has_news: bool,
    reports: u64,
}

struct Site {
    name: String,
    control: Control,
    devices: Vec<SimulatedDevice>,
    tracked: Vec<Tracked>,
    is_dark: bool,
    count: u64,
}

#[derive(Default)]
struct Controller {
    control: Control,
    fleet: Fleet,
}

pub(crate) struct Simulation {
    pub keys: Keys,
    pub plan: SignedPlan,
    sites: Vec<Site>,
    controllers: [Controller; 2],
    faults: Faults,
    random: Random,
    round: u64,
}

impl Simulation {
    pub(crate) fn new(plan: &Plan, fleet: (usize, usize), faults: Faults, seed: u64) -> Self {
        let (devices, sites) = fleet;
        let keys = Keys::new();
        let plan = keys.plan(plan);
        let mut random = Random(seed);
        let site = |site: usize| {
            let name = format!("site-{site}");
            let numbers = (0..devices).filter(|i| i % sites == site);
            let members = numbers.filter_map(|i| {
                let device = device(&name, &format!("cam-{i}"));
                let placement = place(&plan, &device)?;
                let is_first = plan.first.contains(&DeviceId::of(&device));
                let member = SimulatedDevice {
                    placement,
                    phase: Phase::Absent,
                    is_touched: false,
                    is_off: !is_first && random.happens(faults.off),
                    is_bad: !is_first && random.happens(faults.bad),
                    is_late: !is_first && random.happens(faults.late),
                    has_news: true,
                    reports: 0,
                };
                Some((
                    member,
                    Tracked::new(placement, format!("class-{}", i % 3), at(0)),
                ))
            });
            let (devices, tracked) = members.unzip();
            Site {
                control: Control::default(),
                devices,
                tracked,
                is_dark: random.happens(faults.dark),
                count: 0,
                name,
            }
        };
        Self {
            sites: (0..sites).map(site).collect(),
            keys,
            plan,
            controllers: Default::default(),
            faults,
            random,
            round: 0,
        }
    }

    pub(crate) fn devices(&self) -> impl Iterator<Item = &SimulatedDevice> {
        self.sites.iter().flat_map(|site| &site.devices)
    }

    pub(crate) fn touched(&self) -> usize {
        self.devices().filter(|device| device.is_touched).count()
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.round * ROUND_S
    }

    /// The controllers hear of a statement.
    pub(crate) fn state(&mut self, statement: &SignedStatement) {
        for controller in &mut self.controllers {
            controller.control.hear(statement);
        }
    }

    /// Runs until both controllers see an end, for at most so many rounds.
    pub(crate) fn run(&mut self, rounds: u64) -> Option<[End; 2]> {
        for _ in 0..rounds {
            self.round();
            let ends = self.ends();
            if ends.is_some() {
                return ends;
            }
        }
        None
    }

    fn ends(&self) -> Option<[End; 2]> {
        let now = at(self.seconds());
        let end = |it: &Controller| match step(&self.plan, &it.control, &it.fleet, now) {
            Action::End(end) => Some(end),
            _ => None,
        };
        let [one, other] = &self.controllers;
        Some([end(one)?, end(other)?])
    }

    pub(crate) fn round(&mut self) {
        self.round += 1;
        let now = at(self.seconds());
        for controller in &mut self.controllers {
            if self.random.happens(self.faults.dies) {
                *controller = Controller::default();
            }
            if let Action::State(said) =
                step(&self.plan, &controller.control, &controller.fleet, now)
            {
                controller
                    .control
                    .hear(&self.keys.statement(&self.plan, &said));
            }
        }
        let joined = self.round > JOINS_AFTER;
        for site in &mut self.sites {
            site.work(
                &self.plan,
                self.faults.lost,
                joined,
                self.round,
                &mut self.random,
            );
            if site.is_dark && joined {
                continue;
            }
            site.count += 1;
            let count = Count::of(
                &self.plan,
                &site.control,
                (site.name.as_str(), "registry"),
                (site.count, now),
                &site.tracked,
            );
            for controller in &mut self.controllers {
                if self.random.happens(self.faults.lost) {
                    continue;
                }
                controller.control.merge(&site.control);
                site.control.merge(&controller.control);
                // Each arrives twice; the second changes nothing.
                let first = controller.fleet.hear(&self.plan, count.clone(), now);
                assert!(first.unwrap());
                let again = controller.fleet.hear(&self.plan, count.clone(), now);
                assert!(!again.unwrap());
            }
        }
    }
}

impl Site {
    fn work(
        &mut self,
        plan: &SignedPlan,
        lost: u64,
        joined: bool,
        round: u64,
        random: &mut Random,
    ) {
        let now = at(round * ROUND_S);
        for (device, tracked) in self.devices.iter_mut().zip(&mut self.tracked) {
            if device.is_off || (device.is_late && !joined) {
                continue;
            }
            let situation = Situation {
                phase: device.phase,
                deferral: None,
                has_previous: true,
                now,
            };
            let phase = match judge(plan, &self.control, &device.placement, &situation) {
                Wanted::Begin => Phase::Fetching,
                Wanted::GoOn => device.next(),
                Wanted::Cancel if device.phase == Phase::Trial => Phase::RolledBack,
                Wanted::Cancel => Phase::Absent,
                Wanted::GoBack => Phase::RolledBack,
                _ => device.phase,
            };
            if phase != device.phase {
                device.phase = phase;
                device.is_touched = true;
                device.has_news = true;
            }
            // What is lost is said again; and a sign of life every 5 minutes.
            if (device.has_news || round.is_multiple_of(10)) && !random.happens(lost) {
                device.has_news = false;
                device.reports += 1;
                assert!(tracked.hear(plan, device.report(plan), now));
            }
        }
    }
}

impl SimulatedDevice {
    fn next(&self) -> Phase {
        match self.phase {
            Phase::Fetching => Phase::Verified,
            Phase::Verified => Phase::Staged,
            Phase::Staged => Phase::SelfTested,
            Phase::SelfTested => Phase::Trial,
            Phase::Trial if self.is_bad => Phase::RolledBack,
            Phase::Trial => Phase::Live,
            other => other,
        }
    }

    fn report(&self, plan: &SignedPlan) -> Report {
        let state = project(self.phase, None);
        let cause = if state == State::RolledBack {
            "trap_rate"
        } else {
            ""
        };
        let samples = if self.phase == Phase::Live { 100 } else { 0 };
        Report {
            plan: plan.digest(),
            number: self.reports,
            state,
            cause: cause.to_owned(),
            health: Health {
                samples,
                ..Health::default()
            },
            baseline: Health::default(),
            metric: Default::default(),
        }
    }
}
