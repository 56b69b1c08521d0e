//! The simulation: events in the order of their time.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use hotshoe_base::VirtualClock;
use hotshoe_rollout::{Action, Command, Count, End, Report, Rollout, RolloutStatement, SignedText};
use hotshoe_store::{Ledger, Transition};
use hotshoe_trust::{Time, time_of};

use crate::attacker::Attacker;
use crate::controller::SimulatedController;
use crate::deployers::Deployers;
use crate::device::{Moment, SimulatedDevice, slot};
use crate::event::{Due, Event, Woken};
use crate::figures::{Figures, SimulationError};
use crate::planned::plan;
use crate::random::Random;
use crate::settings::Settings;
use crate::site::{REGISTRY, SimulatedSite};

/// The second that the simulation begins at.
const START_S: u64 = 1_800_000_000;
/// How often a controller looks, in milliseconds.
const CONTROLLER_MS: u64 = 5_000;
/// How often a registry looks whether a count is due, in milliseconds.
const REGISTRY_MS: u64 = 5_000;
/// How often it may be that a controller dies, in milliseconds.
const DEATHS_MS: u64 = 60_000;
/// Number of controllers.
const CONTROLLERS: usize = 2;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A controller looked at what it knows.
    Looked,
    /// Something else.
    Other,
    /// Nothing: the time is over.
    Over,
}

/// A simulated fleet.
#[derive(Debug)]
pub struct World {
    pub(crate) settings: Settings,
    clock: VirtualClock,
    pub(crate) now_ms: u64,
    pub(crate) events: BinaryHeap<Due>,
    planned: u64,
    pub(crate) random: Random,
    pub(crate) deployers: Deployers,
    /// The rollout as it begins.
    pub(crate) begun: Rollout,
    pub(crate) sites: Vec<SimulatedSite>,
    pub(crate) controllers: Vec<SimulatedController>,
    /// Only devices in the middle of a step, and those that start, are awake.
    pub(crate) is_resting: bool,
    pub(crate) attacker: Option<Attacker>,
    pub(crate) figures: Figures,
}

impl World {
    /// A fleet whose rollout begins now.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn new(settings: Settings) -> Result<Self, SimulationError> {
        Self::of(settings, Deployers::new(1, 0)?)
    }

    pub(crate) fn of(
        settings: Settings,
        mut deployers: Deployers,
    ) -> Result<Self, SimulationError> {
        let clock = VirtualClock::at(UNIX_EPOCH + Duration::from_secs(START_S));
        let now = time_of(clock.clock().wall());
        let mut first = plan(&settings, now);
        (first.release, first.generation) = (deployers.release(1, now)?, 1);
        let installed = deployers.rollout(&first, now)?;
        let install = Transition::Install(slot(installed.plan(), now), now);
        // Nothing refuses a first release.
        let ledger = Ledger::default().after(&install, now).unwrap_or_default();
        let mut plan = plan(&settings, now);
        plan.previous = first.release;
        plan.release = deployers.release(plan.generation, now)?;
        let begun = deployers.rollout(&plan, now)?;
        let mut world = Self {
            random: Random::new(settings.seed),
            controllers: Vec::new(),
            sites: Vec::new(),
            settings,
            clock,
            now_ms: 0,
            events: BinaryHeap::new(),
            planned: 0,
            deployers,
            begun,
            is_resting: false,
            attacker: None,
            figures: Figures::default(),
        };
        for number in 0..world.settings.sites {
            let (begun, settings) = (&world.begun, &world.settings);
            let random = &mut world.random;
            let site = SimulatedSite::new(number, (begun, &ledger), settings, random);
            world.sites.push(site);
        }
        world.begin();
        Ok(world)
    }

    /// The plan has reached all registries, and the devices that are on hear of it.
    pub(crate) fn begin(&mut self) {
        let controller = || SimulatedController {
            rollout: self.begun.clone(),
            fleet: Default::default(),
        };
        self.controllers = (0..CONTROLLERS).map(|_| controller()).collect();
        for site in 0..self.sites.len() {
            self.tell_devices(site);
            let at_ms = self.random.between(0, REGISTRY_MS);
            self.schedule(at_ms, Event::Registry(site));
        }
        for controller in 0..CONTROLLERS {
            let at_ms = self.random.between(0, CONTROLLER_MS);
            self.schedule(at_ms, Event::Controller(controller));
            self.schedule(DEATHS_MS, Event::Death(controller));
        }
    }

    pub(crate) fn schedule(&mut self, at_ms: u64, event: Event) {
        self.planned += 1;
        self.events.push(Due {
            at_ms: at_ms.max(self.now_ms),
            number: self.planned,
            event,
        });
    }

    /// When a message arrives that is repeated after `retry_ms` while it is lost.
    fn arrives_ms(&mut self, retry_ms: u64) -> u64 {
        let network = self.settings.network;
        let mut at_ms = self.now_ms;
        while self.random.happens(network.loss_permille.min(900)) {
            at_ms = at_ms.saturating_add(retry_ms);
        }
        let (least, most) = (network.least_delay_ms, network.most_delay_ms);
        at_ms.saturating_add(self.random.between(least, most))
    }

    /// When a message arrives that is not repeated; `None` if it is lost.
    fn arrives_once_ms(&mut self) -> Option<u64> {
        let is_lost = self.random.happens(self.settings.network.loss_permille);
        (!is_lost).then(|| self.arrives_ms_unlost())
    }

    fn arrives_ms_unlost(&mut self) -> u64 {
        let network = self.settings.network;
        let delay_ms = self
            .random
            .between(network.least_delay_ms, network.most_delay_ms);
        self.now_ms.saturating_add(delay_ms)
    }

    fn tell_devices(&mut self, site: usize) {
        let Some(of_site) = self.sites.get(site) else {
            return;
        };
        let control = Arc::new(of_site.rollout.control().clone());
        for device in 0..of_site.devices.len() {
            let at_ms = self.arrives_ms(self.settings.network.retry_ms);
            let event = Event::Device(site, device, Woken::Heard(Arc::clone(&control)));
            self.schedule(at_ms, event);
        }
    }

    pub(crate) fn now(&self) -> Time {
        time_of(self.clock.clock().wall())
    }

    /// Runs until all controllers see an end, or the time is over. Returns the end that the first one sees.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn run(&mut self, limit: Duration) -> Result<Option<End>, SimulationError> {
        let until_ms = self.deadline_ms(limit);
        loop {
            match self.next(until_ms)? {
                Next::Over => return Ok(None),
                Next::Looked => {
                    if let Some(end) = self.end() {
                        return Ok(Some(end));
                    }
                }
                Next::Other => {}
            }
        }
    }

    /// Runs for a time, whatever the controllers see.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn run_for(&mut self, time: Duration) -> Result<(), SimulationError> {
        let until_ms = self.deadline_ms(time);
        while self.next(until_ms)? != Next::Over {}
        Ok(())
    }

    fn deadline_ms(&self, time: Duration) -> u64 {
        let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.now_ms.saturating_add(time_ms)
    }

    /// The end, if all controllers see one.
    fn end(&self) -> Option<End> {
        let now = self.now();
        let mut first = None;
        for controller in &self.controllers {
            match controller.step(now) {
                Action::End(end) => first = first.or(Some(end)),
                Action::Wait | Action::State(_) => return None,
            }
        }
        first
    }

    /// Does what is next.
    fn next(&mut self, until_ms: u64) -> Result<Next, SimulationError> {
        if self.events.peek().is_none_or(|due| due.at_ms > until_ms) {
            self.advance_to(until_ms);
            return Ok(Next::Over);
        }
        let Some(due) = self.events.pop() else {
            return Ok(Next::Over);
        };
        self.advance_to(due.at_ms);
        self.figures.events += 1;
        let next = match due.event {
            Event::Controller(_) => Next::Looked,
            _ => Next::Other,
        };
        match due.event {
            Event::Device(site, device, woken) => self.on_device(site, device, &woken),
            Event::Report(site, device, report) => self.on_report(site, device, *report),
            Event::Registry(site) => self.on_registry(site),
            Event::Stated(site, text) => self.on_stated(site, &text)?,
            Event::Count(controller, count) => self.on_count(controller, &count)?,
            Event::Heard(controller, text) => self.on_heard(controller, &text)?,
            Event::Controller(controller) => self.on_controller(controller)?,
            Event::Death(controller) => self.on_death(controller),
        }
        Ok(next)
    }

    fn advance_to(&mut self, at_ms: u64) {
        if at_ms > self.now_ms {
            self.clock
                .advance(Duration::from_millis(at_ms - self.now_ms));
            self.now_ms = at_ms;
        }
    }

    fn on_device(&mut self, site: usize, device: usize, woken: &Woken) {
        let (now, now_ms) = (self.now(), self.now_ms);
        let cut_permille = self.settings.faults.cut_permille;
        let Some(of_site) = self.sites.get_mut(site) else {
            return;
        };
        let (rollout, devices) = (&of_site.rollout, &mut of_site.devices);
        let plan = rollout.plan();
        let simulated = devices.get_mut(device).filter(|it| !it.is_off(now_ms));
        let release = self.deployers.verified(plan.release);
        let (Some(simulated), Some(release)) = (simulated, release) else {
            return;
        };
        let now = simulated.clock(now);
        let at = Moment {
            plan,
            release,
            now,
            now_ms,
            cut_permille,
        };
        match woken {
            Woken::Heard(control) => {
                simulated.control.merge(control);
            }
            // An event that a later one took the place of.
            Woken::Due if simulated.wakes_ms != now_ms => return,
            Woken::Due => {}
            Woken::Started => {
                self.deployers.renew(simulated, now);
                if let Some(attacker) = &mut self.attacker {
                    attacker.meet(simulated, &self.deployers, now, &mut self.random);
                }
                // It asks its registry first.
                simulated.control.merge(rollout.control());
                simulated.restart(&at, &mut self.random);
            }
        }
        let next = simulated.work(&at, &mut self.random);
        simulated.wakes_ms = next.wakes_ms.max(now_ms.saturating_add(1));
        let wakes_ms = simulated.wakes_ms;
        if next.is_busy || !self.is_resting {
            self.schedule(wakes_ms, Event::Device(site, device, Woken::Due));
        }
        if let Some(report) = next.report.filter(|_| !self.is_resting) {
            self.figures.reports += 1;
            let arrives = self.arrives_once_ms();
            if let Some(at_ms) = arrives {
                self.schedule(at_ms, Event::Report(site, device, Box::new(report)));
            } else if let Some(simulated) = self.device_mut(site, device) {
                // It is said again when the device is awake next.
                simulated.reporting.repeat();
            }
        }
    }

    fn device_mut(&mut self, site: usize, device: usize) -> Option<&mut SimulatedDevice> {
        self.sites.get_mut(site)?.devices.get_mut(device)
    }

    fn on_report(&mut self, site: usize, device: usize, report: Report) {
        let now = self.now();
        let Some(of_site) = self.sites.get_mut(site) else {
            return;
        };
        if let Some(simulated) = of_site.devices.get(device) {
            let (identity, class) = (&simulated.identity, &simulated.class);
            let plan = of_site.rollout.plan();
            of_site.counted.hear(plan, identity, class, report, now);
        }
    }

    fn on_registry(&mut self, site: usize) {
        let (now, now_ms) = (self.now(), self.now_ms);
        self.schedule(now_ms.saturating_add(REGISTRY_MS), Event::Registry(site));
        let Some(of_site) = self.sites.get_mut(site) else {
            return;
        };
        let names = (of_site.name.as_str(), REGISTRY);
        let counted = of_site.counted.count(&of_site.rollout, names, now);
        let Some((mut count, is_changed)) = counted else {
            return;
        };
        if site < self.settings.faults.lying_sites {
            count.cells = vec![lie(of_site.rollout.plan())];
        }
        let is_reachable = of_site.reachable_ms(now_ms) == now_ms;
        self.figures.counts += 1;
        self.figures.changed_counts += u64::from(is_changed);
        let count = Arc::new(count);
        for controller in 0..CONTROLLERS {
            if let Some(at_ms) = self.arrives_once_ms().filter(|_| is_reachable) {
                self.schedule(at_ms, Event::Count(controller, Arc::clone(&count)));
            }
        }
    }

    fn on_stated(&mut self, site: usize, text: &Arc<SignedText>) -> Result<(), SimulationError> {
        let now = self.now();
        let Some(of_site) = self.sites.get_mut(site) else {
            return Ok(());
        };
        if !of_site.rollout.hear(text, self.deployers.trust(), now)? {
            return Ok(());
        }
        of_site.counted.touch();
        self.tell_devices(site);
        for controller in 0..CONTROLLERS {
            let at_ms = self.arrives_ms(1_000);
            self.schedule(at_ms, Event::Heard(controller, Arc::clone(text)));
        }
        Ok(())
    }

    fn on_count(&mut self, controller: usize, count: &Count) -> Result<(), SimulationError> {
        let now = self.now();
        if let Some(it) = self.controllers.get_mut(controller) {
            it.fleet.hear(it.rollout.plan(), count.clone(), now)?;
        }
        Ok(())
    }

    fn on_heard(&mut self, controller: usize, text: &SignedText) -> Result<(), SimulationError> {
        let now = self.now();
        if let Some(it) = self.controllers.get_mut(controller) {
            it.rollout.hear(text, self.deployers.trust(), now)?;
        }
        Ok(())
    }

    fn on_controller(&mut self, controller: usize) -> Result<(), SimulationError> {
        let now_ms = self.now_ms;
        let again_ms = now_ms.saturating_add(CONTROLLER_MS);
        self.schedule(again_ms, Event::Controller(controller));
        let now = self.now();
        let Some(it) = self.controllers.get(controller) else {
            return Ok(());
        };
        if let Action::State(statement) = it.step(now) {
            self.state(Some(controller), &statement)?;
        }
        Ok(())
    }

    /// Signs a statement, and sends it to all registries.
    fn state(
        &mut self,
        controller: Option<usize>,
        statement: &RolloutStatement,
    ) -> Result<(), SimulationError> {
        let now = self.now();
        let mut text = SignedText::of_statement(statement, self.begun.plan())?;
        self.deployers.sign(&mut text)?;
        if let Some(controller) = controller
            && let Some(it) = self.controllers.get_mut(controller)
        {
            it.rollout.hear(&text, self.deployers.trust(), now)?;
        }
        let text = Arc::new(text);
        for site in 0..self.sites.len() {
            self.figures.statements += 1;
            let at_ms = self.arrives_ms(1_000);
            let of_site = self.sites.get(site);
            let at_ms = of_site.map_or(at_ms, |it| it.reachable_ms(at_ms));
            self.schedule(at_ms, Event::Stated(site, Arc::clone(&text)));
        }
        Ok(())
    }

    fn on_death(&mut self, controller: usize) {
        let again_ms = self.now_ms.saturating_add(DEATHS_MS);
        self.schedule(again_ms, Event::Death(controller));
        if self.random.happens(self.settings.faults.dies_permille) {
            // The next one asks the registries, which are found by now.
            let mut rollout = self.begun.clone();
            let now = self.now();
            for site in &self.sites {
                for text in site.rollout.statement_texts() {
                    // They are valid: their registry has verified them.
                    drop(rollout.hear(text, self.deployers.trust(), now));
                }
            }
            if let Some(it) = self.controllers.get_mut(controller) {
                *it = SimulatedController {
                    rollout,
                    fleet: Default::default(),
                };
            }
        }
    }

    /// An operator's word, which reaches the registries as a controller's does.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn say(&mut self, command: Command) -> Result<(), SimulationError> {
        let Some(it) = self.controllers.first() else {
            return Ok(());
        };
        let control = it.rollout.control();
        let statement = RolloutStatement {
            plan: self.begun.plan().digest(),
            number: control.next_number(),
            stage: control.stage(),
            command,
            issued: self.now(),
        };
        self.state(None, &statement)
    }
}

/// What a registry that lies says: all went well, on as many devices as the plan allows.
fn lie(plan: &Plan) -> Cell {
    Cell {
        stage: 0,
        state: State::Confirmed,
        cause: String::new(),
        class: "class-0".to_owned(),
        open: false,
        devices: plan.max_site_devices,
        health: Health::default(),
        baseline: Health::default(),
    }
}
