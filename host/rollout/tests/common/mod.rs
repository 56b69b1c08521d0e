//! A plan with its keys, and devices.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its own part"
)]

use std::collections::BTreeMap;

use hotshoe_rollout::{
    Command, Control, Deadlines, DeviceId, Gate, OnFailure, Plan, RolloutError, RolloutStatement,
    Selector, SignedPlan, SignedStatement, SignedText, Stage, read_plan, read_statement,
};
use hotshoe_store::Cause;
use hotshoe_trust::{Device, Digest, SigningKey, Time, TrustRoot};

/// The second that plans are issued at.
pub(crate) const START: i64 = 1_800_000_000;

pub(crate) fn at(seconds: u64) -> Time {
    Time::from_second(START + i64::try_from(seconds).unwrap()).unwrap()
}

pub(crate) fn device(site: &str, name: &str) -> Device {
    Device {
        name: name.to_owned(),
        site: site.to_owned(),
        labels: BTreeMap::new(),
    }
}

pub(crate) fn cause(name: &str) -> Cause {
    Cause::new(name, "a message")
}

/// Stages of 0, 1%, 10%, 50% and 100%, each watched for 600 s.
pub(crate) fn plan() -> Plan {
    let stage = |share_ppm| Stage {
        share_ppm,
        watch_s: 600,
        gate: Gate {
            min_samples: 0,
            ..Gate::default()
        },
    };
    Plan {
        rollout: 1,
        name: "ocr".to_owned(),
        release: Digest::of(b"new"),
        generation: 8,
        bundles: vec![Digest::of(b"bundle")],
        previous: Digest::of(b"old"),
        seed: 7,
        selector: Selector::default(),
        first: vec![DeviceId {
            site: "site-0".to_owned(),
            name: "cam-0".to_owned(),
        }],
        stages: [0, 10_000, 100_000, 500_000, 1_000_000].map(stage).to_vec(),
        deadlines: Deadlines::default(),
        spread_s: 60,
        approve_between: false,
        on_failure: OnFailure::Abort,
        max_site_devices: 10_000,
        compare: None,
        issued: at(0),
        expires: at(30 * 24 * 3_600),
    }
}

/// Two deployers, of whom both must sign, and a key with the role for rollouts of `ocr`.
pub(crate) struct Keys {
    pub deployers: [SigningKey; 2],
    pub operator: SigningKey,
    pub trust: TrustRoot,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let key = || SigningKey::generate().unwrap();
        let (deployers, operator) = ([key(), key()], key());
        let entry = |name: &str, key: &SigningKey, releases: &[&str]| {
            TrustRoot::key_entry(name, &key.public_key().unwrap(), releases)
        };
        let text = format!(
            "threshold = 2\n{}{}{}rollouts = [\"ocr\"]\n",
            entry("a", &deployers[0], &["ocr"]),
            entry("b", &deployers[1], &["ocr"]),
            entry("operator", &operator, &[]),
        );
        Self {
            deployers,
            operator,
            trust: TrustRoot::parse(&text).unwrap(),
        }
    }

    pub(crate) fn plan(&self, plan: &Plan) -> SignedPlan {
        let mut signed = SignedText::of_plan(plan).unwrap();
        for key in &self.deployers {
            signed.sign(key).unwrap();
        }
        let arrived = SignedText::parse(&signed.to_bytes()).unwrap();
        read_plan(&arrived, &self.trust, plan.issued).unwrap()
    }

    /// A statement by these keys, as a device reads it at its time.
    pub(crate) fn statement_by(
        &self,
        plan: &SignedPlan,
        statement: &RolloutStatement,
        keys: &[&SigningKey],
    ) -> Result<SignedStatement, RolloutError> {
        let mut signed = SignedText::of_statement(statement, plan)?;
        for key in keys {
            signed.sign(key).unwrap();
        }
        let arrived = SignedText::parse(&signed.to_bytes())?;
        read_statement(&arrived, plan, &self.trust, statement.issued)
    }

    /// A statement by the operator.
    pub(crate) fn statement(
        &self,
        plan: &SignedPlan,
        statement: &RolloutStatement,
    ) -> SignedStatement {
        self.statement_by(plan, statement, &[&self.operator])
            .unwrap()
    }
}

pub(crate) fn statement(
    plan: &SignedPlan,
    number: u64,
    stage: u32,
    command: Command,
    seconds: u64,
) -> RolloutStatement {
    RolloutStatement {
        plan: plan.digest(),
        number,
        stage,
        command,
        issued: at(seconds),
    }
}

pub(crate) fn heard<'s>(statements: impl IntoIterator<Item = &'s SignedStatement>) -> Control {
    let mut control = Control::default();
    for statement in statements {
        control.hear(statement);
    }
    control
}
