//! What devices, registries and controllers do about each event.

use std::sync::Arc;

use hotshoe_rollout::{Action, Cell, Count, CountReason, Health, Plan, Report, SignedText, State};

use crate::controller::SimulatedController;
use crate::device::{Moment, SimulatedDevice};
use crate::event::{Event, Woken};
use crate::figures::SimulationError;
use crate::site::REGISTRY;
use crate::world::{CONTROLLER_MS, CONTROLLERS, DEATHS_MS, REGISTRY_MS, World};

impl World {
    pub(crate) fn on_device(&mut self, site: usize, device: usize, woken: &Woken) {
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

    pub(crate) fn on_report(&mut self, site: usize, device: usize, report: Report) {
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

    pub(crate) fn on_registry(&mut self, site: usize) {
        let (now, now_ms) = (self.now(), self.now_ms);
        self.schedule(now_ms.saturating_add(REGISTRY_MS), Event::Registry(site));
        let Some(of_site) = self.sites.get_mut(site) else {
            return;
        };
        let names = (of_site.name.as_str(), REGISTRY);
        let counted = of_site.counted.count(&of_site.rollout, names, now);
        let Some((mut count, reason)) = counted else {
            return;
        };
        if site < self.settings.faults.lying_sites {
            count.cells = vec![lie(of_site.rollout.plan())];
        }
        let is_reachable = of_site.reachable_ms(now_ms) == now_ms;
        self.figures.counts += 1;
        self.figures.counts_with_news += u64::from(reason == CountReason::News);
        let count = Arc::new(count);
        for controller in 0..CONTROLLERS {
            if let Some(at_ms) = self.arrives_once_ms().filter(|_| is_reachable) {
                self.schedule(at_ms, Event::Count(controller, Arc::clone(&count)));
            }
        }
    }

    pub(crate) fn on_stated(
        &mut self,
        site: usize,
        text: &Arc<SignedText>,
    ) -> Result<(), SimulationError> {
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

    pub(crate) fn on_count(
        &mut self,
        controller: usize,
        count: &Count,
    ) -> Result<(), SimulationError> {
        let now = self.now();
        if let Some(it) = self.controllers.get_mut(controller) {
            it.fleet.hear(it.rollout.plan(), count.clone(), now)?;
        }
        Ok(())
    }

    pub(crate) fn on_heard(
        &mut self,
        controller: usize,
        text: &SignedText,
    ) -> Result<(), SimulationError> {
        let now = self.now();
        if let Some(it) = self.controllers.get_mut(controller) {
            it.rollout.hear(text, self.deployers.trust(), now)?;
        }
        Ok(())
    }

    pub(crate) fn on_controller(&mut self, controller: usize) -> Result<(), SimulationError> {
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

    pub(crate) fn on_death(&mut self, controller: usize) {
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
