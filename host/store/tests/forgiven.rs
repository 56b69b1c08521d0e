//! A remembered failure that is forgotten by a signed order.
#![allow(clippy::unwrap_used, reason = "tests")]

use hotshoe_store::{Cause, Ledger, Phase, Slot, Transition};
use hotshoe_trust::{Digest, Time};

fn slot(name: &str, generation: u64) -> Slot {
    Slot {
        release: Digest::of(format!("{name} {generation}").as_bytes()),
        bundles: Vec::new(),
        name: name.to_owned(),
        generation,
        installed: Time::UNIX_EPOCH,
    }
}

fn after(ledger: &Ledger, transition: &Transition) -> Ledger {
    ledger.after(transition, Time::UNIX_EPOCH).unwrap()
}

fn forgive(slot: &Slot) -> Transition {
    Transition::Forgive {
        name: slot.name.clone(),
        release: slot.release,
        cause: Cause::new("ordered", "by the deployer"),
    }
}

#[test]
fn a_forgiven_release_may_be_staged_again_and_no_floor_changes() {
    let (old, new) = (slot("ocr", 1), slot("ocr", 2));
    let live = after(
        &Ledger::default(),
        &Transition::Install(old, Time::UNIX_EPOCH),
    );
    let cause = Cause::new("trap_rate", "a message");
    let failed = after(&live, &Transition::Fail(new.clone(), Phase::Failed, cause));
    let stage = Transition::Stage {
        slot: new.clone(),
        issued: Time::UNIX_EPOCH,
        activate: true,
    };
    let refused = failed.after(&stage, Time::UNIX_EPOCH).unwrap_err();
    assert_eq!(refused.name(), "failed_before");
    let forgiven = after(&failed, &forgive(&new));
    assert_eq!(forgiven.floor, live.floor);
    assert_eq!(forgiven.live, live.live);
    let event = forgiven.history.last().unwrap();
    assert_eq!(
        (event.release, event.phase),
        (Some(new.release), Phase::Absent)
    );
    assert_eq!(after(&forgiven, &stage).staged, Some(new));
}

#[test]
fn only_the_named_release_is_forgiven() {
    let (failed, other) = (slot("ocr", 2), slot("ocr", 3));
    let cause = Cause::new("trap_rate", "a message");
    let ledger = after(
        &Ledger::default(),
        &Transition::Fail(failed.clone(), Phase::Failed, cause),
    );
    for wrong in [other, slot("faces", 2)] {
        let error = ledger
            .after(&forgive(&wrong), Time::UNIX_EPOCH)
            .unwrap_err();
        assert_eq!(error.name(), "not_failed");
    }
    assert!(ledger.failed.contains_key("ocr"));
}
