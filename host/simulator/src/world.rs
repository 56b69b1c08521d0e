//! The simulation: events in the order of their time.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use hotshoe_base::VirtualClock;
use hotshoe_rollout::{Action, Command, End, Rollout, RolloutStatement, SignedText};
use hotshoe_store::{Ledger, Transition};
use hotshoe_trust::{Time, time_of};

use crate::attacker::Attacker;
use crate::controller::SimulatedController;
use crate::deployers::Deployers;
use crate::device::slot;
use crate::event::{Due, Event, Woken};
use crate::figures::{Figures, SimulationError};
use crate::planned::plan;
use crate::random::Random;
use crate::settings::Settings;
use crate::site::SimulatedSite;

/// The second that the simulation begins at.
const START_S: u64 = 1_800_000_000;
/// How often a controller looks, in milliseconds.
pub(crate) const CONTROLLER_MS: u64 = 5_000;
/// How often a registry looks whether a count is due, in milliseconds.
pub(crate) const REGISTRY_MS: u64 = 5_000;
/// How often it may be that a controller dies, in milliseconds.
pub(crate) const DEATHS_MS: u64 = 60_000;
/// Number of controllers.
pub(crate) const CONTROLLERS: usize = 2;

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
    pub(crate) clock: VirtualClock,
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
    pub(crate) fn arrives_ms(&mut self, retry_ms: u64) -> u64 {
        let network = self.settings.network;
        let mut at_ms = self.now_ms;
        while self.random.happens(network.loss_permille.min(900)) {
            at_ms = at_ms.saturating_add(retry_ms);
        }
        let (least, most) = (network.least_delay_ms, network.most_delay_ms);
        at_ms.saturating_add(self.random.between(least, most))
    }

    /// When a message arrives that is not repeated; `None` if it is lost.
    pub(crate) fn arrives_once_ms(&mut self) -> Option<u64> {
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

    pub(crate) fn tell_devices(&mut self, site: usize) {
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

    /// Signs a statement, and sends it to all registries.
    pub(crate) fn state(
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
