//! A deployment without a pipeline: it fetches, verifies, stores and records releases as a daemon does, and serves none.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use hotshoe_config::{ZenohConfig, ZenohMode};
use hotshoe_delivery::{Cancel, DeliveryConfig, Fetcher};
use hotshoe_link::{Link, NoticeSubscription};
use hotshoe_protocol::rollout::{DeviceReport, StatedRollout};
use hotshoe_rollout::{
    Observed, Reporting, Rollouts, SignedPlan, Situation, Wanted, judge, place, progress, project,
};
use hotshoe_store::{Catalogue, Cause, Layout, Phase, Store, Transition};
use hotshoe_trust::{Device, Package, Release, Time, TrustRoot, Verified, verify};

use crate::support::DEADLINE;

/// Longest time between two looks at the clock: a stage also begins at a time of its own, without a statement.
const LOOK: Duration = Duration::from_millis(100);
/// The hardware class of all of them.
const CLASS: &str = "headless";

pub(super) struct Headless {
    identity: Device,
    link: Arc<Link>,
    fetcher: Fetcher,
    store: Store,
    trust: TrustRoot,
    rollouts: Rollouts,
    reporting: Reporting,
    _statements: NoticeSubscription,
}

impl Headless {
    /// A device of the site `lab` with this release installed, connected to a router. It tells `heard` its number with what it hears.
    pub(super) fn new(
        (number, name): (usize, &str),
        folder: &Path,
        installed: &Layout,
        trust: &TrustRoot,
        router: &str,
        heard: Sender<(usize, Vec<u8>)>,
    ) -> Self {
        let identity = Device {
            name: name.to_owned(),
            site: "lab".to_owned(),
            labels: BTreeMap::new(),
        };
        let now = Time::now();
        let mut store = Store::open(folder).unwrap();
        let package = installed.package().unwrap();
        let release = verified(&package, trust, &store, &identity);
        store.install(installed, &release, now).unwrap();
        let zenoh = ZenohConfig {
            mode: ZenohMode::Client,
            connect: vec![router.to_owned()],
            ..ZenohConfig::default()
        };
        let link = Arc::new(Link::open(&zenoh, "lab", name).unwrap());
        let statements = link.rollouts(move |bytes| drop(heard.send((number, bytes))));
        Self {
            fetcher: Fetcher::new(&link, Catalogue::new(), DeliveryConfig::default()).unwrap(),
            identity,
            link,
            store,
            trust: trust.clone(),
            rollouts: Rollouts::default(),
            reporting: Reporting::since(1),
            _statements: statements.unwrap(),
        }
    }

    /// Takes what is stated about a rollout.
    fn hear(&mut self, bytes: &[u8]) {
        let stated = StatedRollout::parse(bytes).unwrap();
        let (plan, statements) = (&stated.plan, &stated.statements);
        let received = self
            .rollouts
            .receive(plan, statements, &self.trust, Time::now());
        assert!(received.unwrap().refused.is_none());
    }

    /// Does what each rollout wants of this device now, and reports it.
    fn follow(&mut self) {
        let rollouts = self.rollouts.clone();
        for rollout in rollouts.iter() {
            let plan = rollout.plan();
            let Some(placement) = place(plan, &self.identity) else {
                continue;
            };
            let previous = self.store.ledger().previous.as_ref();
            let situation = Situation {
                phase: self.phase(plan),
                deferral: None,
                has_previous: previous.is_some_and(|slot| slot.release == plan.previous),
                now: Time::now(),
            };
            match judge(plan, rollout.control(), &placement, &situation) {
                Wanted::Begin => self.update(plan),
                Wanted::GoBack => {
                    let cause = Cause::new("rollout_reversed", "by the rollout");
                    self.apply(&Transition::GoBack(cause));
                }
                Wanted::Nothing | Wanted::Wait { .. } | Wanted::GoOn => {}
                other => panic!("{}: {other:?}", self.identity.name),
            }
            self.report(plan);
        }
    }

    fn phase(&self, plan: &SignedPlan) -> Phase {
        let known = progress(plan, self.store.ledger(), None);
        known.map_or(Phase::Absent, |(phase, _)| phase)
    }

    fn apply(&mut self, transition: &Transition) {
        self.store.apply(transition, Time::now()).unwrap();
    }

    /// Fetches and verifies the release of a plan, and makes it live. Without a pipeline there is nothing to try.
    fn update(&mut self, plan: &SignedPlan) {
        let cancel = Cancel::after(DEADLINE);
        let package = self.fetcher.package(plan.release, &plan.bundles, &cancel);
        let release = verified(&package.unwrap(), &self.trust, &self.store, &self.identity);
        let blobs = self.store.blobs();
        self.fetcher
            .release(&release, &blobs, |_| {}, &cancel)
            .unwrap();
        self.store.check(&release).unwrap();
        let slot = self.store.keep_package(&release, Time::now()).unwrap();
        let tries = release.health.tries;
        self.apply(&Transition::Stage {
            slot,
            issued: release.issued,
            activate: true,
        });
        self.apply(&Transition::BeginTrial { tries });
        self.apply(&Transition::Confirm);
    }

    fn report(&mut self, plan: &SignedPlan) {
        let known = progress(plan, self.store.ledger(), None);
        let (phase, cause) = known.unwrap_or((Phase::Absent, ""));
        let (state, cause) = (project(phase, None), cause.to_owned());
        let observe = || Observed::of(state, &cause);
        let due = self
            .reporting
            .due(plan, state, &cause, Time::now(), observe);
        if let Some(report) = due {
            let said = DeviceReport::new(CLASS.to_owned(), report);
            self.link.publish_rollout_report(&said).unwrap();
        }
    }

    /// The generation of its live release.
    fn generation(&self) -> u64 {
        let live = self.store.ledger().live.as_ref();
        live.map_or(0, |slot| slot.generation)
    }
}

fn verified(
    package: &Package,
    trust: &TrustRoot,
    store: &Store,
    device: &Device,
) -> Verified<Release> {
    let (floor, host) = (store.ledger().floor(), env!("CARGO_PKG_VERSION"));
    let host = host.parse().unwrap();
    verify(package, trust, &floor, device, &host, Time::now()).unwrap()
}

/// Runs devices until it is over, and tells the generation of each live release when it changes.
pub(super) fn run(
    mut devices: Vec<Headless>,
    heard: &Receiver<(usize, Vec<u8>)>,
    tell: &Sender<(String, u64)>,
    is_over: &AtomicBool,
) {
    let mut known = vec![0; devices.len()];
    while !is_over.load(Ordering::Relaxed) {
        if let Ok((number, bytes)) = heard.recv_timeout(LOOK) {
            devices[number].hear(&bytes);
            for (number, bytes) in heard.try_iter() {
                devices[number].hear(&bytes);
            }
        }
        for (device, known) in devices.iter_mut().zip(&mut known) {
            device.follow();
            let generation = device.generation();
            if std::mem::replace(known, generation) == generation {
                continue;
            }
            // A test that has failed listens no longer.
            drop(tell.send((device.identity.name.clone(), generation)));
        }
    }
}
