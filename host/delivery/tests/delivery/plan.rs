//! The plan: every want arrives, whatever sources do, and nothing is counted twice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hotshoe_delivery::{BatchEnd, Bounds, Plan, Want};
use hotshoe_protocol::wire::is_origin;
use hotshoe_trust::Digest;
use proptest::prelude::*;

fn wants(count: usize) -> Vec<Want> {
    (0..count)
        .map(|i| Want {
            digest: Digest::of(&i.to_le_bytes()),
            most: 1_000 + 37 * i as u64,
        })
        .collect()
}

const BOUNDS: Bounds = Bounds {
    in_flight: 20_000,
    batch: 8_000,
    stall: Duration::from_secs(5),
    timeout: Duration::from_secs(30),
};

#[derive(Debug, Clone)]
enum Act {
    Bring(usize),
    Lack,
    Nothing,
    GiveUp,
    Wait(u64),
    Vanish(usize),
    Ban(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1..40_usize).prop_map(Act::Bring),
        1 => Just(Act::Lack),
        1 => Just(Act::Nothing),
        1 => Just(Act::GiveUp),
        2 => (1..40_000_u64).prop_map(Act::Wait),
        1 => (0..3_usize).prop_map(Act::Vanish),
        1 => (0..2_usize).prop_map(Act::Ban),
    ];
    prop::collection::vec(act, 0..60)
}

const NAMES: [&str; 3] = ["registry-a", "registry-b", "registry-c"];

fn all() -> BTreeSet<String> {
    NAMES.map(str::to_owned).into()
}

proptest! {
    #[test]
    fn whatever_sources_do_an_honest_one_completes_it(acts in acts(), count in 1..60_usize) {
        let mut now = Instant::now();
        let mut plan = Plan::new(wants(count), BOUNDS);
        plan.set_sources(&all(), is_origin);
        let mut open = Vec::new();
        let mut arrived = BTreeSet::new();
        for act in acts {
            while let Some(batch) = plan.next(now) {
                prop_assert!(!batch.wants.is_empty());
                open.push(batch);
            }
            // At most one object exceeds the limit.
            prop_assert!(plan.in_flight() <= BOUNDS.in_flight + 10_000);
            match act {
                Act::Bring(some) => {
                    let Some(batch) = open.first().cloned() else { continue };
                    for number in batch.wants.iter().take(some) {
                        let (new, _) = plan.arrived(batch.id, *number, now);
                        prop_assert_eq!(new, arrived.insert(*number));
                    }
                }
                Act::Lack | Act::Nothing | Act::GiveUp => {
                    let Some(batch) = open.pop() else { continue };
                    let lacks = if matches!(act, Act::Lack) { batch.wants } else { Vec::new() };
                    let end = if matches!(act, Act::GiveUp) { BatchEnd::TimedOut } else { BatchEnd::Finished };
                    plan.ended(batch.id, &lacks, end, now);
                }
                Act::Wait(ms) => {
                    now += Duration::from_millis(ms);
                    for batch in plan.overdue(now) {
                        plan.ended(batch, &[], BatchEnd::TimedOut, now);
                    }
                }
                Act::Vanish(which) => {
                    let mut live = all();
                    live.remove(NAMES[which]);
                    plan.set_sources(&live, is_origin);
                    plan.set_sources(&all(), is_origin);
                }
                Act::Ban(which) => drop(plan.ban(NAMES[which])),
            }
        }
        // From here on the third source is honest, and the others are silent.
        for _ in 0..10_000 {
            if plan.is_done() {
                break;
            }
            now += Duration::from_millis(250);
            for batch in plan.overdue(now) {
                plan.ended(batch, &[], BatchEnd::TimedOut, now);
            }
            while let Some(batch) = plan.next(now) {
                if batch.source == NAMES[2] {
                    for number in batch.wants {
                        let (new, _) = plan.arrived(batch.id, number, now);
                        prop_assert_eq!(new, arrived.insert(number));
                    }
                }
            }
        }
        prop_assert!(plan.is_done());
        prop_assert_eq!(arrived.len(), count);
        prop_assert_eq!(plan.in_flight(), 0);
    }
}
