//! The slots: a power cut, a full disk or a broken one at each step of an update leaves the old program or the new one, never none.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use hotshoe_base::disk::Faults;
use hotshoe_supervisor::{
    Choice, FolderError, Happened, HostFolder, Installed, SlotName, Slots, Wanted,
};
use hotshoe_trust::Blob;
use proptest::prelude::*;

const OLD: &[u8] = b"the old program";
const NEW: &[u8] = b"the new program, which is longer";

/// What the daemon does: it puts a program into the free slot, and orders its trial.
fn order(folder: &HostFolder, program: &[u8]) -> Result<u64, FolderError> {
    let slots = folder.slots()?;
    let installed = folder.put(program, slots.free(), Blob::of(program))?;
    let number = slots.taken + 1;
    folder.want(&Wanted {
        number,
        installed,
        starts: 2,
        deadline_s: 60,
    })?;
    Ok(number)
}

/// The bytes of what the supervisor starts next; `None` for the program that it was given.
fn start(folder: &HostFolder) -> Result<Option<Vec<u8>>, FolderError> {
    let next = folder.next(&|_| ())?;
    Ok(next.map(|program| fs::read(program.path).unwrap()))
}

/// A whole update, from the order to the first start after the confirmation.
fn update(folder: &HostFolder) -> Result<Option<Vec<u8>>, FolderError> {
    let number = order(folder, NEW)?;
    assert_eq!(start(folder)?.as_deref(), Some(NEW));
    folder.confirm(number)?;
    folder.take()?;
    start(folder)
}

/// A data folder in which [`OLD`] is live, or one without any program.
fn begun(with_old: bool) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    if with_old {
        let folder = HostFolder::open(data.path()).unwrap();
        let number = order(&folder, OLD).unwrap();
        start(&folder).unwrap();
        folder.confirm(number).unwrap();
        let slots = folder.take().unwrap();
        assert_eq!(slots.live.unwrap().program, Blob::of(OLD));
    }
    data
}

/// Interrupts an update after each number of steps, and continues without a fault by `go_on`.
fn at_each_step(fault: fn(u64) -> Faults, go_on: fn(&HostFolder, Option<&[u8]>)) -> u64 {
    let mut most = 0;
    for with_old in [true, false] {
        for steps in 0.. {
            let data = begun(with_old);
            let folder = HostFolder::open_with(data.path(), fault(steps));
            let done = folder.and_then(|folder| update(&folder));
            let folder = HostFolder::open(data.path()).unwrap();
            go_on(&folder, with_old.then_some(OLD));
            if let Ok(program) = done {
                assert_eq!(program.as_deref(), Some(NEW));
                most = most.max(steps);
                break;
            }
        }
    }
    most
}

/// The new program is confirmed if it is on trial, and otherwise it is ordered again.
fn confirm(folder: &HostFolder, old: Option<&[u8]>) {
    let first = start(folder).unwrap();
    let is_new = first.as_deref() == Some(NEW);
    assert!(is_new || first.as_deref() == old, "{first:?}");
    if !is_new {
        assert_eq!(update(folder).unwrap().as_deref(), Some(NEW));
        return;
    }
    folder.confirm(folder.slots().unwrap().taken).unwrap();
    assert_eq!(start(folder).unwrap().as_deref(), Some(NEW));
    assert_eq!(folder.slots().unwrap().trial, None);
}

/// The new program is never confirmed: unless it was before, the old one is started in the end.
fn never_confirm(folder: &HostFolder, old: Option<&[u8]>) {
    let was_confirmed = {
        let slots = folder.take().unwrap();
        slots.live.is_some_and(|live| live.program == Blob::of(NEW))
    };
    for _ in 0..4 {
        start(folder).unwrap();
    }
    let last = start(folder).unwrap();
    let expected = if was_confirmed { Some(NEW) } else { old };
    assert_eq!(last.as_deref(), expected);
}

#[test]
fn a_power_cut_at_each_step_leaves_the_old_program_or_the_new_one() {
    // Each of the four files takes four steps or more.
    assert!(at_each_step(Faults::after, confirm) > 20);
    at_each_step(Faults::after, never_confirm);
}

#[test]
fn a_disk_that_fills_or_breaks_at_each_step_leaves_the_old_program_or_the_new_one() {
    for fault in [Faults::full_after, Faults::broken_after] {
        at_each_step(fault, confirm);
        at_each_step(fault, never_confirm);
    }
}

#[test]
fn a_program_that_is_not_confirmed_is_left_after_its_starts_and_taken_again_by_a_new_order() {
    let data = begun(true);
    let folder = HostFolder::open(data.path()).unwrap();
    order(&folder, NEW).unwrap();
    let started: Vec<_> = (0..4).map(|_| start(&folder).unwrap().unwrap()).collect();
    assert_eq!(started, [NEW, NEW, OLD, OLD]);
    let failed = folder.slots().unwrap().failed.unwrap();
    assert_eq!((failed.number, failed.cause.as_str()), (2, "died_in_trial"));
    assert_eq!(failed.program, Blob::of(NEW).digest);
    // A confirmation that comes too late counts for nothing.
    folder.confirm(2).unwrap();
    assert_eq!(start(&folder).unwrap().as_deref(), Some(OLD));
    assert_eq!(update(&folder).unwrap().as_deref(), Some(NEW));
}

#[test]
fn a_program_that_the_daemon_refuses_is_left_at_the_next_start() {
    let data = begun(true);
    let folder = HostFolder::open(data.path()).unwrap();
    let number = order(&folder, NEW).unwrap();
    assert_eq!(start(&folder).unwrap().as_deref(), Some(NEW));
    folder.refuse(number).unwrap();
    assert_eq!(start(&folder).unwrap().as_deref(), Some(OLD));
    assert_eq!(folder.slots().unwrap().failed.unwrap().cause, "refused");
}

#[test]
fn a_damaged_program_is_never_started() {
    let data = begun(true);
    let folder = HostFolder::open(data.path()).unwrap();
    assert_eq!(update(&folder).unwrap().as_deref(), Some(NEW));
    // A byte of the live one: the one before it is started.
    let live = data.path().join("host/b");
    let mut bytes = fs::read(&live).unwrap();
    bytes[3] ^= 1;
    fs::write(&live, &bytes).unwrap();
    assert_eq!(start(&folder).unwrap().as_deref(), Some(OLD));
    // And then that one: the supervisor starts what it was given.
    fs::write(data.path().join("host/a"), "").unwrap();
    assert_eq!(start(&folder).unwrap(), None);
    // A trial is given up.
    order(&folder, NEW).unwrap();
    fs::remove_file(data.path().join("host/a")).unwrap();
    assert_eq!(start(&folder).unwrap(), None);
    assert_eq!(folder.slots().unwrap().failed.unwrap().cause, "damaged");
}

#[test]
fn a_program_is_for_its_owner_and_other_bytes_are_not_put_into_a_slot() {
    let data = begun(true);
    let mode = fs::metadata(data.path().join("host/a")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o700);
    let folder = HostFolder::open(data.path()).unwrap();
    let refused = folder.put(&b"other bytes"[..], SlotName::B, Blob::of(NEW));
    let refused = refused.unwrap_err();
    assert_eq!(refused.name(), "damaged");
    assert!(!data.path().join("host/b").exists());
}

#[test]
fn an_unusable_record_is_named_and_orders_that_cannot_be_read_are_left_out() {
    let data = begun(true);
    let folder = HostFolder::open(data.path()).unwrap();
    fs::write(data.path().join("host/wanted.json"), "{").unwrap();
    fs::write(data.path().join("host/verdict.json"), "[]").unwrap();
    assert_eq!(start(&folder).unwrap().as_deref(), Some(OLD));
    let record = data.path().join("host/slots.json");
    fs::write(&record, "{").unwrap();
    assert_eq!(start(&folder).unwrap_err().name(), "unusable_slots");
    fs::write(&record, r#"{"format": 99}"#).unwrap();
    assert_eq!(start(&folder).unwrap_err().name(), "newer_format");
}

fn happened() -> impl Strategy<Value = Happened> {
    let slot = || prop_oneof![Just(SlotName::A), Just(SlotName::B)];
    let wanted =
        (0..4_u64, slot(), 0..3_u32, 0..3_u8).prop_map(|(number, slot, starts, program)| {
            Happened::Wanted(Wanted {
                number,
                installed: Installed {
                    slot,
                    program: Blob::of(&[program]),
                },
                starts,
                deadline_s: 1,
            })
        });
    prop_oneof![
        wanted,
        Just(Happened::Started),
        (0..4_u64).prop_map(Happened::Confirmed),
        (0..4_u64).prop_map(Happened::Refused),
        Just(Happened::GaveUp("not_confirmed")),
        slot().prop_map(Happened::Damaged),
    ]
}

proptest! {
    #[test]
    fn the_live_program_is_left_by_a_confirmation_or_by_damage_alone(
        all in prop::collection::vec(happened(), 0..40)
    ) {
        let mut slots = Slots::default();
        for happened in all {
            let next = slots.after(happened);
            let may_change = matches!(happened, Happened::Confirmed(_) | Happened::Damaged(_));
            prop_assert!(may_change || next.live == slots.live);
            // A trial never has the slot of the live program, and a free slot is never the live one.
            if let (Some(live), Some(trial)) = (next.live, next.trial) {
                prop_assert_ne!(live.slot, trial.installed.slot);
            }
            prop_assert!(next.live.is_none_or(|live| live.slot != next.free()));
            prop_assert!(next.taken >= slots.taken);
            if let Choice::Trial(trial) = next.choice() {
                prop_assert!(trial.starts_left > 0);
            }
            slots = next;
        }
    }
}
