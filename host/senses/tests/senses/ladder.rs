//! The ladder: what it lets through, when, and what it refuses.

use std::num::NonZeroU32;
use std::time::Duration;

use hotshoe_senses::{
    Because, Decision, Ladder, LadderLimits, MAX_ITEMS, MAX_REASON_BYTES, Plan, PlanError, Rate,
    Rest, Severity, SignedMode, SignedModes, WaitsFor, Wish,
};
use proptest::prelude::*;

const LIMITS: LadderLimits = LadderLimits {
    least: Duration::from_secs(10),
    calm: Duration::from_secs(30),
    most_changes: 4,
    period: Duration::from_secs(600),
};

fn modes() -> SignedModes {
    let mode = |name: &str, every| SignedMode {
        name: name.to_owned(),
        rate: rate(every, 0),
    };
    SignedModes(vec![mode("full", 1), mode("half", 2), mode("minimal", 4)])
}

fn rate(every: u32, interval_ms: u32) -> Rate {
    Rate {
        every: NonZeroU32::new(every).unwrap(),
        interval_ms,
        on_motion: false,
    }
}

fn of_mode(name: &str) -> Plan {
    Plan {
        mode: Some(Because::new(
            name.to_owned(),
            format!("a reason for {name}"),
        )),
        ..Plan::default()
    }
}

fn of_rate(every: u32, interval_ms: u32) -> Plan {
    let reason = format!("each {every}th");
    Plan {
        rate: Some(Because::new(rate(every, interval_ms), reason)),
        ..Plan::default()
    }
}

fn wish(plan: &Plan) -> Wish {
    Wish {
        from: "governor".to_owned(),
        plan: plan.clone(),
    }
}

/// A ladder with its limits.
struct Run {
    ladder: Ladder,
    limits: LadderLimits,
}

impl Run {
    fn new() -> Self {
        Self {
            ladder: Ladder::default(),
            limits: LIMITS,
        }
    }

    fn step(&mut self, seconds: u64, plans: &[&Plan]) -> Decision {
        let wishes: Vec<Wish> = plans.iter().map(|plan| wish(plan)).collect();
        let at = Duration::from_secs(seconds);
        let ladder = std::mem::take(&mut self.ladder);
        let (ladder, decision) = ladder.step(&self.limits, &modes(), &wishes, at);
        self.ladder = ladder;
        decision
    }

    fn mode(&self) -> Option<&str> {
        let mode = self.ladder.in_force().mode.as_ref();
        mode.map(|mode| mode.value.as_str())
    }
}

fn waits(decision: &Decision) -> Option<(WaitsFor, u64)> {
    decision.waits.map(|it| (it.limit, it.until.as_secs()))
}

#[test]
fn the_first_wish_is_in_force_at_once_with_its_reason() {
    let mut run = Run::new();
    assert!(run.step(0, &[&of_mode("half")]).has_changed);
    let mode = run.ladder.in_force().mode.as_ref().unwrap();
    assert_eq!(
        (mode.value.as_str(), mode.reason.as_str()),
        ("half", "a reason for half")
    );
    // The same wish again is not a change.
    assert_eq!(run.step(1, &[&of_mode("half")]), Decision::default());
}

#[test]
fn a_stricter_wish_waits_for_the_least_time_alone() {
    let mut run = Run::new();
    run.step(100, &[&of_mode("half")]);
    let decision = run.step(109, &[&of_mode("minimal")]);
    assert_eq!(waits(&decision), Some((WaitsFor::LeastTime, 110)));
    assert_eq!(run.mode(), Some("half"));
    assert!(run.step(110, &[&of_mode("minimal")]).has_changed);
    assert_eq!(run.mode(), Some("minimal"));
}

#[test]
fn a_looser_wish_waits_for_calm_and_each_stricter_one_starts_it_again() {
    let mut run = Run::new();
    run.step(0, &[&of_mode("minimal")]);
    let decision = run.step(100, &[&Plan::default()]);
    assert_eq!(waits(&decision), Some((WaitsFor::Calm, 130)));
    // What is in force is wished again.
    run.step(120, &[&of_mode("minimal")]);
    let decision = run.step(130, &[&Plan::default()]);
    assert_eq!(waits(&decision), Some((WaitsFor::Calm, 160)));
    assert!(run.step(160, &[&Plan::default()]).has_changed);
    assert_eq!(run.mode(), None);
}

#[test]
fn it_becomes_as_loose_as_the_strictest_wish_of_the_calm() {
    let mut run = Run::new();
    run.step(0, &[&of_mode("minimal")]);
    run.step(100, &[&of_mode("full")]);
    run.step(110, &[&of_mode("half")]);
    run.step(120, &[&Plan::default()]);
    assert!(run.step(130, &[&Plan::default()]).has_changed);
    assert_eq!(run.mode(), Some("half"));
    // And on from there, after another calm.
    assert_eq!(
        waits(&run.step(131, &[&Plan::default()])),
        Some((WaitsFor::Calm, 161))
    );
    run.step(161, &[&Plan::default()]);
    assert_eq!(run.mode(), None);
}

#[test]
fn after_many_changes_it_only_becomes_stricter() {
    let mut run = Run::new();
    let (full, half) = (Plan::default(), of_mode("half"));
    for (at, plan) in [
        (0, &half),
        (50, &full),
        (80, &full),
        (100, &half),
        (150, &full),
        (180, &full),
    ] {
        run.step(at, &[plan]);
    }
    // Changes at 0, 80, 100 and 180: four.
    assert_eq!(run.mode(), None);
    assert!(run.step(200, &[&half]).has_changed);
    // The oldest of the last four is now that at 80.
    run.step(210, &[&full]);
    let decision = run.step(240, &[&full]);
    assert_eq!(waits(&decision), Some((WaitsFor::RateLimit, 680)));
    assert!(run.step(250, &[&of_mode("minimal")]).has_changed);
    // Then that at 100, and the calm begins again.
    let decision = run.step(260, &[&full]);
    assert_eq!(waits(&decision), Some((WaitsFor::RateLimit, 700)));
    assert!(!run.step(699, &[&full]).has_changed);
    assert!(run.step(700, &[&full]).has_changed);
}

#[test]
fn the_stricter_of_two_wishes_wins_item_by_item() {
    let mut run = Run::new();
    let mut hot = of_mode("minimal");
    hot.outputs
        .insert("fan".to_owned(), Because::new(50, "warm"));
    hot.rest = Some(Because::new(Rest::Until(1_000), "a pause"));
    let mut empty = of_mode("half");
    empty.rate = Some(Because::new(rate(3, 0), "little charge"));
    empty
        .outputs
        .insert("fan".to_owned(), Because::new(100, "hot"));
    empty.rest = Some(Because::new(Rest::Stop, "none left"));
    run.step(0, &[&hot, &empty]);
    let plan = run.ladder.in_force();
    assert_eq!(run.mode(), Some("minimal"));
    assert_eq!(plan.rate, empty.rate);
    assert_eq!(plan.outputs["fan"], Because::new(100, "hot"));
    assert_eq!(plan.rest, empty.rest);
    // The rate of the mode is stricter than the wished one.
    assert_eq!(modes().rate(plan), rate(4, 0));
    assert_eq!(modes().rate(&of_rate(9, 0)), rate(9, 0));
    assert_eq!(modes().rate(&Plan::default()), Rate::FULL);
}

#[test]
fn limits_of_two_rates_apply_together_with_both_reasons() {
    let mut run = Run::new();
    run.step(0, &[&of_rate(3, 0), &of_rate(1, 500)]);
    let both = run.ladder.in_force().rate.clone().unwrap();
    assert_eq!(both, Because::new(rate(3, 500), "each 3th; each 1th"));
}

#[test]
fn an_unsigned_mode_is_refused_and_counted_and_changes_nothing() {
    let mut run = Run::new();
    run.step(0, &[&of_mode("half")]);
    let decision = run.step(60, &[&of_mode("turbo")]);
    assert!(!decision.has_changed);
    let error = PlanError::UnsignedMode {
        mode: "turbo".to_owned(),
    };
    assert_eq!(error.name(), "unsigned_mode");
    assert_eq!(decision.refused[0].error, error);
    assert_eq!(decision.refused[0].from, "governor");
    assert_eq!((run.mode(), run.ladder.refused()), (Some("half"), 1));
    // The other wishes count.
    let decision = run.step(61, &[&of_mode("turbo"), &of_mode("minimal")]);
    assert!(decision.has_changed);
    assert_eq!((run.mode(), run.ladder.refused()), (Some("minimal"), 2));
    // Refused plans alone are not calm.
    for at in [100, 200, 300] {
        run.step(at, &[&of_mode("turbo")]);
    }
    assert_eq!(run.mode(), Some("minimal"));
}

#[test]
fn a_plan_that_is_too_large_is_refused() {
    let alert = || Because::new(Severity::Info, "");
    let items = |count: usize| (0..count).map(|it| (it.to_string(), alert()));
    let plans = [
        Plan {
            alerts: items(MAX_ITEMS + 1).collect(),
            ..Plan::default()
        },
        Plan {
            rest: Some(Because::new(Rest::Stop, "r".repeat(MAX_REASON_BYTES + 1))),
            ..Plan::default()
        },
        Plan {
            outputs: [("fan".to_owned(), Because::new(101, ""))].into(),
            ..Plan::default()
        },
    ];
    let names = plans.map(|plan| plan.check(&modes()).unwrap_err().name());
    assert_eq!(
        names,
        ["too_many_items", "long_text", "output_out_of_range"]
    );
}

#[test]
fn what_is_in_force_does_not_grow_with_ever_new_names() {
    let mut run = Run::new();
    for at in 0..200 {
        let alert = (format!("alert {at}"), Because::new(Severity::Info, ""));
        let plan = Plan {
            alerts: [alert].into(),
            ..Plan::default()
        };
        run.step(10 * at, &[&plan]);
        assert!(run.ladder.in_force().alerts.len() <= MAX_ITEMS);
    }
}

#[test]
fn another_release_takes_a_mode_that_it_does_not_have_out_of_force() {
    let mut run = Run::new();
    run.step(0, &[&of_mode("half")]);
    let kept = run.ladder.clone().for_release(&modes());
    assert_eq!(&kept, &run.ladder);
    let gone = run.ladder.for_release(&SignedModes::default());
    assert_eq!(gone.in_force(), &Plan::default());
}

#[test]
fn the_more_urgent_of_two_alerts_of_one_name_wins_and_both_intervals_have_an_order() {
    let plan = |severity, seconds| Plan {
        alerts: [("hot".to_owned(), Because::new(severity, "heat"))].into(),
        telemetry_interval_s: Some(Because::new(seconds, "charge")),
        ..Plan::default()
    };
    let (mild, urgent) = (plan(Severity::Warning, 300), plan(Severity::Critical, 60));
    let joined = mild.clone().stricter(&urgent, &modes());
    assert_eq!(joined.alerts["hot"].value, Severity::Critical);
    assert_eq!(joined.telemetry_interval_s.as_ref().unwrap().value, 300);
    assert!(!mild.wishes_same(&joined) && !urgent.wishes_same(&joined));
    assert!(joined.wishes_same(&urgent.stricter(&mild, &modes())));
}

/// Plans of few values, so that they often meet.
fn plan() -> impl Strategy<Value = Plan> {
    let mode = prop::option::of(prop::sample::select(vec![
        "full", "half", "minimal", "turbo",
    ]));
    let rest = prop::option::of(prop_oneof![
        (0..3_u64).prop_map(Rest::Until),
        Just(Rest::Stop),
        Just(Rest::Hibernate)
    ]);
    let rates = prop::option::of((1..4_u32, 0..3_u32));
    let fan = prop::option::of(0..=3_u8);
    let severity = prop::sample::select(vec![Severity::Info, Severity::Critical]);
    let alert = (severity, "[a-z]{0,3}").prop_map(|(it, reason)| Because::new(it, reason));
    let alerts = prop::collection::btree_map("[a-c]", alert, 0..3);
    (mode, rest, rates, fan, alerts).prop_map(|(mode, rest, of_rate, fan, alerts)| Plan {
        mode: mode.map(|mode| Because::new(mode.to_owned(), "mode")),
        rest: rest.map(|rest| Because::new(rest, "rest")),
        rate: of_rate.map(|(every, interval)| Because::new(rate(every, interval), "rate")),
        outputs: fan
            .map(|fan| ("fan".to_owned(), Because::new(fan, "fan")))
            .into_iter()
            .collect(),
        alerts,
        ..Plan::default()
    })
}

proptest! {
    #[test]
    fn it_changes_at_most_once_per_least_time_and_names_only_signed_modes(
        steps in prop::collection::vec((0..15_u64, prop::collection::vec(plan(), 0..3)), 1..120),
    ) {
        let mut run = Run::new();
        let (mut at, mut changes, mut refused) = (0, Vec::new(), 0);
        for (pause, plans) in &steps {
            at += pause;
            let before = run.ladder.in_force().clone();
            let plans: Vec<&Plan> = plans.iter().collect();
            let decision = run.step(at, &plans);
            let after = run.ladder.in_force();
            prop_assert_eq!(decision.has_changed, !before.wishes_same(after));
            prop_assert!(after.check(&modes()).is_ok());
            let is_looser = before.clone().stricter(after, &modes()).wishes_same(&before);
            if decision.has_changed {
                changes.push((at, is_looser));
            }
            refused += decision.refused.len() as u64;
            // A wish that is stricter than what is in force waits for nothing but the least time.
            let of_stricter = decision.waits.is_some_and(|it| it.limit == WaitsFor::LeastTime);
            let fits = |plan: &&&Plan| plan.check(&modes()).is_ok();
            for plan in plans.iter().filter(fits) {
                let joined = after.clone().stricter(plan, &modes());
                prop_assert!(joined.wishes_same(after) || of_stricter);
            }
        }
        prop_assert_eq!(run.ladder.refused(), refused);
        for pair in changes.windows(2) {
            prop_assert!(pair[1].0 - pair[0].0 >= LIMITS.least.as_secs(), "{:?}", changes);
        }
        // It becomes looser only as the fourth change of a period at most.
        for five in changes.windows(LIMITS.most_changes + 1) {
            let last = five[LIMITS.most_changes];
            prop_assert!(!last.1 || last.0 - five[0].0 >= LIMITS.period.as_secs(), "{:?}", changes);
        }
    }

    #[test]
    fn the_stricter_of_two_plans_has_no_order_and_is_itself_strictest(one in plan(), other in plan()) {
        let signed = modes();
        let is_signed = |plan: &Plan| plan.check(&signed).is_ok();
        prop_assume!(is_signed(&one) && is_signed(&other));
        let joined = one.clone().stricter(&other, &signed);
        prop_assert!(joined.wishes_same(&other.clone().stricter(&one, &signed)));
        for part in [&one, &other, &joined] {
            prop_assert!(joined.clone().stricter(part, &signed).wishes_same(&joined));
        }
    }
}
