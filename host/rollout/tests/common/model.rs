//! A fleet of three devices at two sites, with two controllers, as a model of which each event is one step. The network is the set of all
//! that was said: what arrives, when, how often and in which order is up to the events. All decisions are those of the crate.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::cell::RefCell;
use std::collections::BTreeSet;

use hotshoe_rollout::{
    Action, Command, Control, Count, Deadlines, Directive, End, Fleet, Gate, Health, Placement,
    Plan, Report, RolloutStatement, SignedPlan, SignedStatement, Situation, Stage, Tracked, Wanted,
    judge, place, project, step,
};
use hotshoe_store::Phase;

use crate::common::{Keys, at, device, plan};

/// Seconds of one tick.
pub(crate) const TICK_S: u64 = 120;
pub(crate) const SITES: [&str; 2] = ["site-0", "site-1"];

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Time passes.
    Tick,
    /// A device judges, works, and makes a report.
    Act(usize),
    /// A device is silent from now on.
    Off(usize),
    /// The last report of a device, or the one before it, reaches its registry.
    Report { device: usize, is_old: bool },
    /// A registry counts.
    Count(usize),
    /// The last count of a registry, or the one before it, reaches a controller.
    Deliver {
        site: usize,
        controller: usize,
        is_old: bool,
    },
    /// A controller decides.
    Step(usize),
    /// A controller dies, and begins with nothing.
    Die(usize),
    /// A statement reaches a node: a device, a registry or a controller.
    Hear { statement: usize, node: usize },
}

/// What does not change: the plan, and each statement that was ever made.
pub(crate) struct World {
    pub keys: Keys,
    pub plan: SignedPlan,
    statements: RefCell<Vec<SignedStatement>>,
}

#[derive(Debug, Clone)]
pub(crate) struct ModelDevice {
    site: usize,
    slot: usize,
    pub placement: Placement,
    pub phase: Phase,
    control: Control,
    pub is_off: bool,
    is_bad: bool,
    reports: Vec<Report>,
}

#[derive(Debug, Clone)]
struct ModelSite {
    control: Control,
    tracked: Vec<Tracked>,
    counts: Vec<Count>,
}

#[derive(Debug, Clone, Default)]
struct Controller {
    control: Control,
    fleet: Fleet,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    now_s: u64,
    pub devices: Vec<ModelDevice>,
    sites: Vec<ModelSite>,
    controllers: Vec<Controller>,
    /// The statements that were made, by their place in the world.
    said: BTreeSet<usize>,
}

/// Three stages of one device each, with deadlines of minutes.
fn small_plan() -> Plan {
    let stage = |share_ppm| Stage {
        share_ppm,
        watch_s: TICK_S,
        gate: Gate {
            min_samples: 0,
            ..Gate::default()
        },
    };
    Plan {
        stages: [0, 500_000, 1_000_000].map(stage).to_vec(),
        deadlines: Deadlines {
            waiting_s: 480,
            fetching_s: 480,
            proving_s: 480,
            trial_s: 480,
            deferred_s: 480,
            // Shorter, as by default: a device that is off is silent before it is late.
            silent_s: 240,
        },
        spread_s: 0,
        ..plan()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let keys = Keys::new();
        let plan = keys.plan(&small_plan());
        Self {
            keys,
            plan,
            statements: RefCell::default(),
        }
    }

    /// The place of a statement, which is signed when it is first made.
    fn place_of(&self, said: &RolloutStatement) -> usize {
        let known = |statements: &[SignedStatement]| statements.iter().position(|it| **it == *said);
        if let Some(at) = known(&self.statements.borrow()) {
            return at;
        }
        let [a, b] = &self.keys.deployers;
        let keys = match said.command {
            Command::Reverse { .. } => vec![a, b],
            _ => vec![&self.keys.operator],
        };
        let signed = self.keys.statement_by(&self.plan, said, &keys).unwrap();
        let mut statements = self.statements.borrow_mut();
        statements.push(signed);
        statements.len() - 1
    }

    fn statement(&self, at: usize) -> SignedStatement {
        self.statements.borrow()[at].clone()
    }

    /// Most ticks until a rollout ends without any help: each stage by its deadline.
    pub(crate) fn most_ticks(&self) -> u64 {
        let stages = 0..=self.plan.last_stage();
        let seconds: u64 = stages.map(|it| self.plan.stage_deadline_s(it)).sum();
        seconds.div_ceil(TICK_S) + 3 * self.plan.stages.len() as u64
    }
}

impl Model {
    /// The fleet before anything has happened. The release fails its trial on the device of the stage `bad`.
    pub(crate) fn new(world: &World, bad: Option<u32>) -> Self {
        let mut sites = SITES.map(|_| ModelSite {
            control: Control::default(),
            tracked: Vec::new(),
            counts: Vec::new(),
        });
        let mut devices = Vec::new();
        for stage in 0..=world.plan.last_stage() {
            let site = usize::from(stage == 2);
            let placements = (0..).map(|i| device(SITES[site], &format!("cam-{i}")));
            let mut placements = placements.filter_map(|it| place(&world.plan, &it));
            let placement = placements.find(|it| it.stage == stage).unwrap();
            let tracked = &mut sites[site].tracked;
            devices.push(ModelDevice {
                site,
                slot: tracked.len(),
                placement,
                phase: Phase::Absent,
                control: Control::default(),
                is_off: false,
                is_bad: bad == Some(stage),
                reports: Vec::new(),
            });
            tracked.push(Tracked::new(placement, "class".to_owned(), at(0)));
        }
        Self {
            now_s: 0,
            devices,
            sites: sites.to_vec(),
            controllers: vec![Controller::default(); 2],
            said: BTreeSet::new(),
        }
    }

    /// An operator makes a statement, which has reached no node yet.
    pub(crate) fn say(&mut self, world: &World, command: Command) {
        let controls = self.controllers.iter().map(|it| &it.control);
        let highest = controls.max_by_key(|it| it.next_number()).unwrap();
        self.said.insert(world.place_of(&RolloutStatement {
            plan: world.plan.digest(),
            number: highest.next_number(),
            stage: highest.stage(),
            command,
            issued: at(self.now_s),
        }));
    }

    /// All events that can happen now.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = vec![Event::Tick];
        for device in 0..self.devices.len() {
            events.extend([Event::Act(device), Event::Off(device)]);
            events.extend([false, true].map(|is_old| Event::Report { device, is_old }));
        }
        for site in 0..self.sites.len() {
            events.push(Event::Count(site));
            for controller in 0..self.controllers.len() {
                events.extend([false, true].map(|is_old| Event::Deliver {
                    site,
                    controller,
                    is_old,
                }));
            }
        }
        for controller in 0..self.controllers.len() {
            events.extend([Event::Step(controller), Event::Die(controller)]);
        }
        events.extend(self.hearings());
        events
    }

    fn hearings(&self) -> Vec<Event> {
        let nodes = self.devices.len() + self.sites.len() + self.controllers.len();
        let to_all = |statement: &usize| {
            let statement = *statement;
            (0..nodes).map(move |node| Event::Hear { statement, node })
        };
        self.said.iter().flat_map(to_all).collect()
    }

    pub(crate) fn apply(&mut self, world: &World, event: Event) {
        let now = at(self.now_s);
        match event {
            Event::Tick => self.now_s += TICK_S,
            Event::Act(device) => self.devices[device].act(world, self.now_s),
            Event::Off(device) => self.devices[device].is_off = true,
            Event::Report { device, is_old } => {
                let device = &self.devices[device];
                let tracked = &mut self.sites[device.site].tracked[device.slot];
                if let Some(report) = of_two(&device.reports, is_old) {
                    tracked.hear(&world.plan, report.clone(), now);
                }
            }
            Event::Count(site) => self.count(world, site),
            Event::Deliver {
                site,
                controller,
                is_old,
            } => {
                if let Some(count) = of_two(&self.sites[site].counts, is_old) {
                    let fleet = &mut self.controllers[controller].fleet;
                    fleet.hear(&world.plan, count.clone(), now).unwrap();
                }
            }
            Event::Step(controller) => {
                let Controller { control, fleet } = &mut self.controllers[controller];
                if let Action::State(said) = step(&world.plan, control, fleet, now) {
                    let said = world.place_of(&said);
                    control.hear(&world.statement(said));
                    self.said.insert(said);
                }
            }
            Event::Die(controller) => self.controllers[controller] = Controller::default(),
            Event::Hear { statement, node } => {
                let stage = self.control_of(node).stage();
                self.control_of(node).hear(&world.statement(statement));
                assert!(
                    self.control_of(node).stage() >= stage,
                    "a share went down at node {node}"
                );
            }
        }
    }

    fn control_of(&mut self, node: usize) -> &mut Control {
        let (devices, sites) = (self.devices.len(), self.sites.len());
        match node {
            node if node < devices => &mut self.devices[node].control,
            node if node < devices + sites => &mut self.sites[node - devices].control,
            node => &mut self.controllers[node - devices - sites].control,
        }
    }

    fn count(&mut self, world: &World, site: usize) {
        let names = (SITES[site], "registry");
        let site = &mut self.sites[site];
        let number = site.counts.last().map_or(1, |last| last.number + 1);
        let number = (number, at(self.now_s));
        let count = Count::of(&world.plan, &site.control, names, number, &site.tracked);
        push(&mut site.counts, count);
    }

    /// A tick in which all that is alive works, and all that was said arrives.
    pub(crate) fn fair_tick(&mut self, world: &World) {
        self.apply(world, Event::Tick);
        let hearings = self.hearings();
        for hearing in hearings {
            self.apply(world, hearing);
        }
        let is_old = false;
        for device in 0..self.devices.len() {
            self.apply(world, Event::Act(device));
            self.apply(world, Event::Report { device, is_old });
        }
        for site in 0..self.sites.len() {
            self.apply(world, Event::Count(site));
            for controller in 0..self.controllers.len() {
                let count = Event::Deliver {
                    site,
                    controller,
                    is_old,
                };
                self.apply(world, count);
            }
        }
        for controller in 0..self.controllers.len() {
            self.apply(world, Event::Step(controller));
        }
    }

    /// How the rollout ended, as a controller sees it.
    pub(crate) fn end(&self, world: &World, controller: usize) -> Option<End> {
        let Controller { control, fleet } = &self.controllers[controller];
        match step(&world.plan, control, fleet, at(self.now_s)) {
            Action::End(end) => Some(end),
            _ => None,
        }
    }

    /// Whether both controllers hold the same statements.
    pub(crate) fn controllers_agree(&self) -> bool {
        self.controllers[0].control == self.controllers[1].control
    }
}

impl ModelDevice {
    fn act(&mut self, world: &World, now_s: u64) {
        if self.is_off {
            return;
        }
        let situation = Situation {
            phase: self.phase,
            deferral: None,
            has_previous: true,
            now: at(now_s),
        };
        self.phase = match judge(&world.plan, &self.control, &self.placement, &situation) {
            Wanted::Begin => {
                self.check_begin(now_s);
                Phase::Fetching
            }
            Wanted::GoOn => match self.phase {
                Phase::Fetching => Phase::Trial,
                _ if self.is_bad => Phase::RolledBack,
                _ => Phase::Live,
            },
            Wanted::Cancel if self.phase == Phase::Trial => Phase::RolledBack,
            Wanted::Cancel => Phase::Absent,
            Wanted::GoBack => Phase::RolledBack,
            _ => self.phase,
        };
        let report = Report {
            plan: world.plan.digest(),
            number: self.reports.last().map_or(1, |last| last.number + 1),
            state: project(self.phase, None),
            cause: String::new(),
            health: Health::default(),
            baseline: Health::default(),
            metric: Default::default(),
        };
        push(&mut self.reports, report);
    }

    /// What must be true whenever a device begins.
    fn check_begin(&self, now_s: u64) {
        let stage = self.placement.stage;
        assert!(stage <= self.control.stage(), "it begins before its stage");
        assert!(matches!(self.control.directive(), Directive::Run));
        let watched = u64::from(stage) * TICK_S;
        assert!(
            now_s >= watched,
            "it begins before the watch times are over"
        );
    }
}

/// The last of at most two, or the one before it.
fn of_two<T>(all: &[T], is_old: bool) -> Option<&T> {
    all.iter().rev().nth(usize::from(is_old))
}

fn push<T>(all: &mut Vec<T>, next: T) {
    all.push(next);
    if all.len() > 2 {
        all.remove(0);
    }
}
