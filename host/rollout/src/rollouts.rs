//! What is known of rollouts: verified plans, and the statements about them that still matter. Device, registry and controller hold the
//! same, and give it on as it arrived.

use std::collections::BTreeMap;

use hotshoe_trust::{Time, TrustRoot};

use crate::{
    control::Control,
    error::RolloutError,
    signed::{SignedPlan, SignedStatement, SignedText, read_plan, read_statement},
};

/// Most release names whose rollout is known.
pub const MAX_ROLLOUTS: usize = 256;
/// Most statements that are read at once.
const MAX_AT_ONCE: usize = 16;

/// One rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    plan: SignedPlan,
    text: SignedText,
    control: Control,
    statements: Vec<(SignedStatement, SignedText)>,
}

impl Rollout {
    /// Reads a plan.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub fn read(text: &SignedText, trust: &TrustRoot, now: Time) -> Result<Self, RolloutError> {
        Ok(Self {
            plan: read_plan(text, trust, now)?,
            text: text.clone(),
            control: Control::default(),
            statements: Vec::new(),
        })
    }

    /// Reads a statement about it; whether it changed anything.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub fn hear(
        &mut self,
        text: &SignedText,
        trust: &TrustRoot,
        now: Time,
    ) -> Result<bool, RolloutError> {
        let digest = text.digest();
        // Known ones arrive again and again.
        if self
            .statements
            .iter()
            .any(|(known, _)| known.digest() == digest)
        {
            return Ok(false);
        }
        let statement = read_statement(text, &self.plan, trust, now)?;
        let is_new = self.control.hear(&statement);
        if is_new {
            self.statements.push((statement, text.clone()));
        }
        self.forget_needless();
        Ok(is_new)
    }

    /// Keeps the greatest statement, and one of the highest stage.
    fn forget_needless(&mut self) {
        let control = &self.control;
        let mut has_stage = false;
        self.statements.retain(|(kept, _)| {
            let is_of_stage = kept.stage == control.stage();
            control.needs(kept) && (!is_of_stage || !std::mem::replace(&mut has_stage, true))
        });
    }

    /// The plan.
    pub const fn plan(&self) -> &SignedPlan {
        &self.plan
    }

    /// What the statements come to.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The plan as it arrived.
    pub const fn text(&self) -> &SignedText {
        &self.text
    }

    /// The statements that still matter, as they arrived.
    pub fn statement_texts(&self) -> impl Iterator<Item = &SignedText> {
        self.statements.iter().map(|(_, text)| text)
    }

    fn hear_all(
        &mut self,
        texts: &[SignedText],
        trust: &TrustRoot,
        now: Time,
    ) -> (bool, Option<RolloutError>) {
        let (mut is_changed, mut refused) = (false, None);
        for text in texts.iter().take(MAX_AT_ONCE) {
            match self.hear(text, trust, now) {
                Ok(is_new) => is_changed |= is_new,
                // A bad statement must not keep away a good one.
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        (is_changed, refused)
    }
}

/// The rollouts by the name of their release. Of two plans for one name, the higher number applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollouts(BTreeMap<String, Rollout>);

/// What a message changed.
#[derive(Debug)]
pub struct Received {
    /// The name of the release.
    pub name: String,
    /// Whether its plan is another one than before.
    pub is_replaced: bool,
    /// Whether anything is other than before.
    pub is_changed: bool,
    /// The rollout whose place the new plan takes.
    pub older: Option<Rollout>,
    /// Why a statement was refused, if one was. The others count.
    pub refused: Option<RolloutError>,
}

impl Rollouts {
    /// Takes a plan with statements about it.
    ///
    /// # Errors
    /// [`RolloutError`], if the plan is refused.
    pub fn receive(
        &mut self,
        plan: &SignedText,
        statements: &[SignedText],
        trust: &TrustRoot,
        now: Time,
    ) -> Result<Received, RolloutError> {
        let digest = plan.digest();
        let known = self.0.values_mut().find(|it| it.plan.digest() == digest);
        if let Some(known) = known {
            let (is_changed, refused) = known.hear_all(statements, trust, now);
            return Ok(Received {
                name: known.plan.name.clone(),
                is_replaced: false,
                is_changed,
                older: None,
                refused,
            });
        }
        let mut new = Rollout::read(plan, trust, now)?;
        let name = new.plan.name.clone();
        let older = self.0.get(&name);
        if older.is_some_and(|older| !new.plan.supersedes(&older.plan)) {
            return Ok(Received {
                name,
                is_replaced: false,
                is_changed: false,
                older: None,
                refused: None,
            });
        }
        let (_, refused) = new.hear_all(statements, trust, now);
        let older = self.0.insert(name.clone(), new);
        self.forget_oldest(&name);
        Ok(Received {
            name,
            is_replaced: true,
            is_changed: true,
            older,
            refused,
        })
    }

    /// Those that these keys sign. The times were checked when they arrived.
    #[must_use]
    pub fn verified_by(&self, trust: &TrustRoot) -> Self {
        let verified = self.0.values().filter_map(|known| {
            let mut rollout = Rollout::read(&known.text, trust, Time::MAX).ok()?;
            for text in known.statement_texts() {
                // One that is not valid any more is left out.
                let _ = rollout.hear(text, trust, Time::MAX);
            }
            Some((rollout.plan.name.clone(), rollout))
        });
        Self(verified.collect())
    }

    fn forget_oldest(&mut self, newest: &str) {
        if self.0.len() <= MAX_ROLLOUTS {
            return;
        }
        let others = self.0.iter().filter(|(name, _)| *name != newest);
        let oldest = others.min_by_key(|(_, it)| it.plan.expires);
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.0.remove(&name);
        }
    }

    /// The rollout of a release name.
    pub fn get(&self, name: &str) -> Option<&Rollout> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Rollout> {
        self.0.values()
    }
}
