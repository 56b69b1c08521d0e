//! What is in force when a governor works, fails, and is replaced.

use std::time::Duration;

use hotshoe_daemon::governor::convert;
use hotshoe_daemon::governor::decider::{Decider, Rules};
use hotshoe_engine::{self as engine, Drive, Failure, Fault, PlanAlert, Reasoned};
use hotshoe_senses::{
    Because, LadderLimits, Moment, Plan, Rate, Rest, Severity, SignedMode, SignedModes, Wish,
};

fn modes(names: &[&str]) -> SignedModes {
    let mode = |name: &&str| SignedMode {
        name: (*name).to_owned(),
        rate: Rate::FULL,
    };
    SignedModes(names.iter().map(mode).collect())
}

fn rules() -> Rules {
    Rules {
        limits: LadderLimits {
            least: Duration::from_secs(10),
            calm: Duration::from_secs(30),
            ..LadderLimits::default()
        },
        modes: modes(&["full", "half", "minimal"]),
        outputs: ["fan".to_owned()].into(),
        may_hibernate: false,
    }
}

fn of_mode(name: &str) -> Plan {
    Plan {
        mode: Some(Because::new(name.to_owned(), "a reason")),
        ..Plan::default()
    }
}

fn hot(celsius: f64) -> Moment {
    Moment {
        celsius: Some(celsius),
        ..Moment::default()
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn mode(decider: &Decider) -> Option<&str> {
    decider.in_force().mode.as_ref().map(|it| it.value.as_str())
}

#[test]
fn the_devices_own_plan_stands_in_at_once_and_the_governor_returns() {
    let (mut decider, rules) = (Decider::default(), rules());
    let decided = decider.step(&rules, Some(Ok(of_mode("half"))), &hot(40.0), at(0));
    assert_eq!((decider.by(), mode(&decider)), ("component", Some("half")));
    assert_eq!(decided.before, Some(Plan::default()));
    // 76 C: the device's own plan has the mode `minimal`.
    let trap = Failure {
        fault: Fault::Trap,
        message: "unreachable".to_owned(),
    };
    let decided = decider.step(&rules, Some(Err(trap.clone())), &hot(76.0), at(10));
    assert_eq!((decider.by(), mode(&decider)), ("default", Some("minimal")));
    assert_eq!(decided.failed, Some(trap.clone()));
    assert_eq!(decider.failure(), Some(&trap));
    // The same failure is told once, another one again.
    let again = decider.step(&rules, Some(Err(trap)), &hot(76.0), at(11));
    assert_eq!(again.failed, None);
    let late = Failure {
        fault: Fault::Deadline,
        message: "too slow".to_owned(),
    };
    let other = decider.step(&rules, Some(Err(late.clone())), &hot(76.0), at(12));
    assert_eq!(other.failed, Some(late));
    assert_eq!(decider.refused(), 0);
    let back = decider.step(&rules, Some(Ok(of_mode("minimal"))), &hot(76.0), at(13));
    assert!(back.has_recovered);
    assert_eq!((decider.by(), decider.failure()), ("component", None));
}

#[test]
fn an_unsigned_mode_is_refused_and_counted_and_loosens_nothing() {
    let (mut decider, rules) = (Decider::default(), rules());
    decider.step(&rules, Some(Ok(of_mode("minimal"))), &hot(40.0), at(0));
    let unsigned = || {
        Some(Err(Failure {
            fault: Fault::UnsignedMode,
            message: "names the mode `turbo`".to_owned(),
        }))
    };
    // The device's own plan for 40 C wishes nothing, and is in force after 30 s in which nothing else was wished.
    for seconds in 1..=30 {
        decider.step(&rules, unsigned(), &hot(40.0), at(seconds));
        assert_eq!(mode(&decider), Some("minimal"), "{seconds}");
    }
    assert_eq!((decider.refused(), decider.by()), (30, "default"));
    decider.step(&rules, unsigned(), &hot(40.0), at(31));
    assert_eq!(mode(&decider), None);
    // A plan that the engine let through, and that the ladder would refuse.
    let mut plan = of_mode("turbo");
    let decided = decider.step(&rules, Some(Ok(plan.clone())), &hot(40.0), at(32));
    assert_eq!(decided.failed.unwrap().fault, Fault::InvalidPlan);
    plan.mode = None;
    assert!(
        decider
            .step(&rules, Some(Ok(plan)), &hot(40.0), at(33))
            .has_recovered
    );
}

#[test]
fn another_release_takes_a_mode_that_it_does_not_have_out_of_force() {
    let (mut decider, rules) = (Decider::default(), rules());
    decider.step(&rules, Some(Ok(of_mode("half"))), &hot(40.0), at(0));
    decider.follow_release(&modes(&["full", "half"]), at(5));
    assert_eq!(
        (mode(&decider), decider.mode_since()),
        (Some("half"), at(0))
    );
    decider.follow_release(&SignedModes::default(), at(6));
    assert_eq!((mode(&decider), decider.mode_since()), (None, at(6)));
}

#[test]
fn what_the_operator_does_not_allow_is_left_out_with_the_reason_kept() {
    let plan = Plan {
        outputs: [
            ("fan".to_owned(), Because::new(50, "heat")),
            ("lamp".to_owned(), Because::new(100, "dark")),
        ]
        .into(),
        rest: Some(Because::new(Rest::Hibernate, "charge")),
        ..Plan::default()
    };
    let mut rules = rules();
    for (may_hibernate, rest) in [(false, Rest::Stop), (true, Rest::Hibernate)] {
        rules.may_hibernate = may_hibernate;
        let mut decider = Decider::default();
        decider.step(&rules, Some(Ok(plan.clone())), &hot(40.0), at(0));
        let in_force = decider.in_force();
        assert_eq!(in_force.rest, Some(Because::new(rest, "charge")));
        assert_eq!(in_force.outputs.keys().collect::<Vec<_>>(), ["fan"]);
    }
}

fn reasoned<T>(value: T) -> Reasoned<T> {
    Reasoned {
        value,
        reason: "why".to_owned(),
    }
}

#[test]
fn every_item_of_a_plan_is_taken_over_with_its_reason() {
    let made = engine::Plan {
        mode: Some(reasoned("half".to_owned())),
        rate: Some(reasoned(hotshoe_trust::Rate {
            every: 3,
            max_per_second: Some(2.0),
            only_on_motion: true,
        })),
        status_interval_seconds: Some(reasoned(300)),
        telemetry_interval_seconds: Some(reasoned(60)),
        outputs: vec![Drive {
            name: "fan".to_owned(),
            value_ratio: 0.5,
            reason: "why".to_owned(),
        }],
        alerts: vec![PlanAlert {
            name: "too-hot".to_owned(),
            severity: engine::Severity::Critical,
            reason: "why".to_owned(),
        }],
        avoid: vec![reasoned("ort".to_owned())],
        rest_us: Some(reasoned(1_500_000)),
        hibernate: None,
        stop: None,
    };
    let why = |value| Some(Because::new(value, "why"));
    let expected = Plan {
        mode: Some(Because::new("half".to_owned(), "why")),
        rate: Some(Because::new(
            Rate {
                every: 3.try_into().unwrap(),
                interval_ms: 500,
                on_motion: true,
            },
            "why",
        )),
        skip_variants: None,
        avoid_backends: [("ort".to_owned(), "why".to_owned())].into(),
        status_interval_s: why(300),
        telemetry_interval_s: why(60),
        outputs: [("fan".to_owned(), Because::new(50, "why"))].into(),
        alerts: [(
            "too-hot".to_owned(),
            Because::new(Severity::Critical, "why"),
        )]
        .into(),
        // 10.5 s and 1.5 s.
        rest: Some(Because::new(Rest::Until(12), "why")),
    };
    assert_eq!(convert::plan(&made, Some("full"), 10_500_000), expected);
    assert_eq!(convert::plan(&made, Some("half"), 10_500_000).mode, None);
}

#[test]
fn stop_is_over_rest_and_hibernation_over_both() {
    let mut made = engine::Plan {
        rest_us: Some(reasoned(1)),
        ..engine::Plan::default()
    };
    let rest = |made: &engine::Plan| convert::plan(made, None, 0).rest;
    // Any part of a second is a whole one.
    assert_eq!(rest(&made), Some(Because::new(Rest::Until(1), "why")));
    made.stop = Some("stops".to_owned());
    assert_eq!(rest(&made), Some(Because::new(Rest::Stop, "stops")));
    made.hibernate = Some("empty".to_owned());
    assert_eq!(rest(&made), Some(Because::new(Rest::Hibernate, "empty")));
}

#[test]
fn an_interval_is_rounded_up_to_whole_milliseconds() {
    for (per_second, interval_ms) in [
        (2.0, 500),
        (3.0, 334),
        (1_000.0 / 300.0, 300),
        (0.001, 1_000_000),
        (10_000.0, 1),
        (999.0, 2),
    ] {
        let rate = convert::rate(hotshoe_trust::Rate {
            every: 1,
            max_per_second: Some(per_second),
            only_on_motion: false,
        });
        assert_eq!(rate.interval_ms, interval_ms, "{per_second}");
    }
    assert_eq!(convert::rate(hotshoe_trust::Rate::FULL), Rate::FULL);
}

#[test]
fn the_strictest_of_the_plan_and_what_others_wish_applies() {
    let (mut decider, rules) = (Decider::default(), rules());
    decider.others_wish(vec![Wish {
        from: "drift".to_owned(),
        plan: of_mode("half"),
    }]);
    decider.step(&rules, Some(Ok(Plan::default())), &hot(40.0), at(0));
    assert_eq!(mode(&decider), Some("half"));
    decider.step(&rules, Some(Ok(of_mode("minimal"))), &hot(40.0), at(10));
    assert_eq!(mode(&decider), Some("minimal"));
    decider.others_wish(Vec::new());
    decider.step(&rules, Some(Ok(Plan::default())), &hot(40.0), at(20));
    assert_eq!(mode(&decider), Some("minimal"));
    decider.step(&rules, Some(Ok(Plan::default())), &hot(40.0), at(50));
    assert_eq!(mode(&decider), None);
}
