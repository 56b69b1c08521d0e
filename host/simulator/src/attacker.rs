//! An attacker in the network with one stolen key of the deployers, whose threshold is two. It keeps everything that was ever signed.

use hotshoe_rollout::{Plan, Rollouts, SignedText};
use hotshoe_trust::{Package, SigningKey, Time, verify};

use crate::deployers::{Deployers, HOST, package};
use crate::device::SimulatedDevice;
use crate::figures::SimulationError;
use crate::random::Random;

/// A number of plans and a generation that no deployer reaches.
const HUGE: u64 = 1_000_000;
/// Of 1,000 devices that start, those that the attacker meets.
const MEETS_PERMILLE: u64 = 100;

/// What the attacker has, and what came of it.
#[derive(Debug)]
pub(crate) struct Attacker {
    /// Plans that no device may follow: forged ones, and those of past weeks.
    forged: Vec<SignedText>,
    past: Vec<SignedText>,
    /// Releases that no device may accept.
    packages: Vec<Package>,
    /// One that a deployer and the stolen key signed before it was revoked.
    revoked: Package,
    /// What devices knew that went off.
    known: Rollouts,
    pub tried: u64,
    pub accepted: u64,
}

impl Attacker {
    /// An attacker that has stolen the first key that does not sign, and one of its own.
    pub(crate) fn new(
        deployers: &Deployers,
        plan: &Plan,
        now: Time,
    ) -> Result<Self, SimulationError> {
        let own = SigningKey::generate()?;
        let forged_plan = Plan {
            rollout: HUGE,
            ..plan.clone()
        };
        let mut forged = vec![SignedText::of_plan(&forged_plan)?];
        let mut packages = vec![package(HUGE, now, [])?, package(HUGE, now, [&own])?];
        for key in deployers.others.iter().chain([&own]) {
            let mut text = SignedText::of_plan(&forged_plan)?;
            text.sign(key)?;
            forged.push(text);
            packages.push(package(HUGE, now, [key])?);
        }
        let partners = deployers.others.iter().chain(deployers.first_signer());
        Ok(Self {
            forged,
            past: Vec::new(),
            packages,
            revoked: package(HUGE, now, partners)?,
            known: Rollouts::default(),
            tried: 0,
            accepted: 0,
        })
    }

    /// A week ends: its plan is one of the past, which all devices know by then, except those that are off.
    pub(crate) fn remember(
        &mut self,
        text: &SignedText,
        deployers: &Deployers,
        now: Time,
    ) -> Result<(), SimulationError> {
        let known = self.known.receive(text, &[], deployers.trust(), now)?;
        if let Some(older) = known.older {
            self.past.push(older.text().clone());
        }
        Ok(())
    }

    /// Tries everything on a device that starts.
    pub(crate) fn meet(
        &mut self,
        device: &SimulatedDevice,
        deployers: &Deployers,
        now: Time,
        random: &mut Random,
    ) {
        if !random.happens(MEETS_PERMILLE) {
            return;
        }
        let trust = deployers.trust();
        let last = self.past.last();
        for text in self.forged.iter().chain(last) {
            let mut known = self.known.clone();
            let received = known.receive(text, &[], trust, now);
            self.tried += 1;
            self.accepted += u64::from(received.is_ok_and(|it| it.is_replaced));
        }
        // Until its key is revoked, it is a release like any other.
        let revoked = Some(&self.revoked).filter(|_| trust.version() > 1);
        let floor = device.ledger.floor();
        for package in self.packages.iter().chain(revoked) {
            let verified = verify(package, trust, &floor, &device.identity, &HOST, now);
            self.tried += 1;
            self.accepted += u64::from(verified.is_ok());
        }
    }
}
