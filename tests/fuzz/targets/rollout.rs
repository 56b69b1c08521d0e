//! Plans, statements and counts of rollouts: what is written can be read, and what is read can be judged.
#![no_main]

use std::sync::LazyLock;

use hotshoe_rollout::{
    Arm, Control, Count, Deadlines, DeviceId, Fleet, Gate, OnFailure, Placement, Plan,
    RolloutStatement, Selector, SignedPlan, SignedText, Situation, Stage, judge, place, read_plan,
    read_statement, step,
};
use hotshoe_store::Phase;
use hotshoe_trust::{Device, Digest, SigningKey, Time, TrustRoot};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().expect("a key"));

static ROOT: LazyLock<TrustRoot> = LazyLock::new(|| {
    let key = KEY.public_key().expect("a key");
    let entry = TrustRoot::key_entry("a", &key, &["*"]);
    TrustRoot::parse(&format!("threshold = 1\n{entry}")).expect("a root")
});

static PLAN: LazyLock<SignedPlan> = LazyLock::new(|| {
    let stage = |share_ppm| Stage {
        share_ppm,
        watch_s: 60,
        gate: Gate::default(),
    };
    let plan = Plan {
        rollout: 1,
        name: "ocr".to_owned(),
        release: Digest::of(b"new"),
        generation: 8,
        bundles: Vec::new(),
        previous: Digest::of(b"old"),
        seed: 7,
        selector: Selector::default(),
        first: vec![DeviceId {
            site: "lab".to_owned(),
            name: "cam-1".to_owned(),
        }],
        stages: vec![stage(0), stage(1_000_000)],
        deadlines: Deadlines::default(),
        spread_s: 60,
        approve_between: false,
        on_failure: OnFailure::Abort,
        max_site_devices: 100,
        compare: None,
        issued: "2026-01-01T00:00:00Z".parse().expect("a time"),
        expires: "2026-02-01T00:00:00Z".parse().expect("a time"),
    };
    let signed = signed(SignedText::of_plan(&plan).expect("a valid plan"));
    read_plan(&signed, &ROOT, plan.issued).expect("a signed plan")
});

fn signed(mut text: SignedText) -> SignedText {
    text.sign(&KEY).expect("a signature");
    SignedText::parse(&text.to_bytes()).expect("what was written can be read")
}

fn follow(plan: &SignedPlan, control: &Control, now: Time) {
    let device = Device {
        name: "cam-1".to_owned(),
        site: "lab".to_owned(),
        ..Device::default()
    };
    let placement = place(plan, &device).unwrap_or(Placement {
        stage: 0,
        arm: Arm::Kept,
        starts_after_s: 0,
    });
    for phase in [Phase::Absent, Phase::Trial, Phase::Live] {
        let situation = Situation {
            phase,
            deferral: None,
            has_previous: true,
            now,
        };
        let _ = judge(plan, control, &placement, &situation);
    }
    let _ = step(plan, control, &Fleet::default(), now);
}

fuzz_target!(|data: &[u8]| {
    if let Ok(unsigned) = SignedText::parse(data) {
        let stranger = read_plan(&unsigned, &ROOT, PLAN.issued);
        assert!(stranger.is_err(), "no signer has that key");
        assert!(read_statement(&unsigned, &PLAN, &ROOT, PLAN.issued).is_err());
    }
    if let Ok(plan) = serde_json::from_slice::<Plan>(data)
        && let Ok(text) = SignedText::of_plan(&plan)
    {
        let read = read_plan(&signed(text), &ROOT, plan.issued).expect("a valid plan");
        assert_eq!(*read, plan);
        follow(&read, &Control::default(), plan.expires);
    }
    if let Ok(mut statement) = serde_json::from_slice::<RolloutStatement>(data) {
        statement.plan = PLAN.digest();
        if let Ok(text) = SignedText::of_statement(&statement, &PLAN) {
            let read = read_statement(&signed(text), &PLAN, &ROOT, statement.issued);
            let read = read.expect("a valid statement");
            let mut control = Control::default();
            control.hear(&read);
            assert!(!control.hear(&read), "a repeated statement changes nothing");
            follow(&PLAN, &control, statement.issued);
        }
    }
    if let Ok(mut count) = Count::parse(data) {
        count.plan = PLAN.digest();
        let mut fleet = Fleet::default();
        if fleet.hear(&PLAN, count.clone(), PLAN.issued).is_ok() {
            assert!(!fleet.hear(&PLAN, count, PLAN.issued).expect("as before"));
            let _ = step(&PLAN, &Control::default(), &fleet, PLAN.expires);
        }
    }
});
