//! Texts of components and models, as they may leave the device: the one place that replaces those that stay.
//!
//! Each text that a component or a runtime makes of data is replaced here before a back-off, the status, an event, a log line, an answer
//! or the record of a file gets it.

use std::sync::Arc;

use hotshoe_egress::WITHHELD;
use hotshoe_engine::{Failure, KeptBack, Plan};
use hotshoe_infer::{BackendSwitch, SwitchReason};
use hotshoe_trust::{EffectiveContract, OutputName, Upload};

/// What a release's data contract says about texts, and the counts of what stayed.
#[derive(Debug, Clone)]
pub(super) struct Texts {
    contract: Arc<EffectiveContract>,
    kept_back: KeptBack,
}

impl Texts {
    pub(super) fn new(contract: EffectiveContract, kept_back: &KeptBack) -> Self {
        Self {
            contract: Arc::new(contract),
            kept_back: kept_back.clone(),
        }
    }

    pub(super) fn contract(&self) -> &EffectiveContract {
        &self.contract
    }

    /// A failure of a stage: with its message, or without.
    pub(super) fn failure(&self, stage: &str, failure: Failure) -> Failure {
        if self.stays(&OutputName::Error, stage) {
            return Failure::new(failure.fault, WITHHELD);
        }
        failure
    }

    /// A plan of a governor: with its reasons, which are of the class of its log lines, or without.
    pub(super) fn plan(&self, governor: &str, plan: Plan) -> Plan {
        if has_texts(&plan) && self.stays(&OutputName::Log, governor) {
            return without_texts(plan);
        }
        plan
    }

    /// What a runtime said when a model failed on tensors. It is not counted: each status asks for it again.
    pub(super) fn of_model(&self, model: &str, text: String) -> String {
        if self.contract.model_text(model).class.upload == Upload::Yes {
            return text;
        }
        WITHHELD.to_owned()
    }

    /// A switch of a model to another backend: with what the runtime said, or without.
    pub(super) fn switch(&self, model: &str, switch: BackendSwitch) -> BackendSwitch {
        let reason = match switch.reason {
            SwitchReason::Failed(cause) => SwitchReason::Failed(self.of_model(model, cause)),
            other => other,
        };
        BackendSwitch { reason, ..switch }
    }

    /// Whether texts of a stage stay on the device. One that does is counted.
    fn stays(&self, output: &OutputName, stage: &str) -> bool {
        let class = self.contract.text(output, stage);
        let class = class.filter(|it| it.class.upload != Upload::Yes);
        if let Some(class) = &class {
            self.kept_back.count(&class.name, &output.to_string());
        }
        class.is_some()
    }
}

/// All texts of a plan. Other names are checked: they are those of the device.
fn texts(plan: &mut Plan) -> Vec<&mut String> {
    let Plan {
        mode,
        rate,
        status_interval_seconds,
        telemetry_interval_seconds,
        outputs,
        alerts,
        avoid,
        rest_us,
        hibernate,
        stop,
    } = plan;
    let mut all: Vec<&mut String> = Vec::new();
    all.extend(mode.as_mut().map(|it| &mut it.reason));
    all.extend(rate.as_mut().map(|it| &mut it.reason));
    all.extend(status_interval_seconds.as_mut().map(|it| &mut it.reason));
    all.extend(telemetry_interval_seconds.as_mut().map(|it| &mut it.reason));
    all.extend(outputs.iter_mut().map(|it| &mut it.reason));
    all.extend(alerts.iter_mut().map(|it| &mut it.reason));
    all.extend(avoid.iter_mut().map(|it| &mut it.reason));
    all.extend(rest_us.as_mut().map(|it| &mut it.reason));
    all.extend(hibernate.as_mut());
    all.extend(stop.as_mut());
    all
}

fn has_texts(plan: &Plan) -> bool {
    *plan != Plan::default()
}

fn without_texts(mut plan: Plan) -> Plan {
    for text in texts(&mut plan) {
        WITHHELD.clone_into(text);
    }
    // The name of an alert is the governor's own, too.
    for (number, alert) in (1..).zip(&mut plan.alerts) {
        alert.name = format!("alert-{number}");
    }
    plan
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use hotshoe_engine::{Drive, PlanAlert, Reasoned, Severity};
    use hotshoe_trust::Rate;

    use super::*;

    const SECRET: &str = "a name of a person";

    fn because<T>(value: T) -> Option<Reasoned<T>> {
        let reason = SECRET.to_owned();
        Some(Reasoned { value, reason })
    }

    #[test]
    fn no_text_of_a_governor_is_left_in_a_plan_and_its_decisions_are() {
        let alert = |severity| PlanAlert {
            name: SECRET.to_owned(),
            severity,
            reason: SECRET.to_owned(),
        };
        let plan = Plan {
            mode: because("eco".to_owned()),
            rate: because(Rate {
                every: 2,
                ..Rate::default()
            }),
            status_interval_seconds: because(10),
            telemetry_interval_seconds: because(20),
            outputs: vec![Drive {
                name: "fan".to_owned(),
                value_ratio: 0.5,
                reason: SECRET.to_owned(),
            }],
            alerts: vec![alert(Severity::Warning), alert(Severity::Critical)],
            avoid: because("tract".to_owned()).into_iter().collect(),
            rest_us: because(1_000),
            hibernate: Some(SECRET.to_owned()),
            stop: Some(SECRET.to_owned()),
        };
        let left = without_texts(plan);
        assert!(!format!("{left:?}").contains(SECRET), "{left:?}");
        assert_eq!(left.mode.unwrap().value, "eco");
        assert_eq!(left.rate.unwrap().value.every, 2);
        assert_eq!(left.rest_us.unwrap().value, 1_000);
        let [first, second] = &left.alerts[..] else {
            panic!("{:?}", left.alerts);
        };
        assert_eq!(
            (first.name.as_str(), second.name.as_str()),
            ("alert-1", "alert-2")
        );
        assert_eq!(second.severity, Severity::Critical);
        assert!(has_texts(&Plan {
            stop: Some(String::new()),
            ..Plan::default()
        }));
        assert!(!has_texts(&Plan::default()));
    }
}
