//! The whole life of releases on a device, with the power cut and the disk full at every step of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use common::{Deployer, deliver, index_of, names, noise, now, piece};
use hotshoe_base::disk::Faults;
use hotshoe_store::{Cause, Layout, Store, Transition};
use hotshoe_trust::{Floor, Release, Verified};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A deployer's releases, by generation.
struct Releases {
    deployer: Deployer,
    by_generation: BTreeMap<u64, (Layout, Verified<Release>)>,
}

impl Releases {
    fn new() -> Self {
        let deployer = Deployer::new();
        let by_generation = (1..=6).map(|generation| {
            // Each model shares most of its chunks with the others.
            let mut model = noise(7, 300 << 10);
            model[..64].copy_from_slice(&noise(generation, 64));
            let layout = deployer.signed_model(generation, &model);
            let verified = deployer.verify(&layout, &Floor::none());
            assert_eq!(verified.chunks.len(), 1);
            (generation, (layout, verified))
        });
        Self {
            by_generation: by_generation.collect(),
            deployer,
        }
    }

    /// Fetches a release, and makes it wait for its trial.
    fn stage(&self, store: &mut Store, generation: u64) -> Outcome<()> {
        let (layout, release) = &self.by_generation[&generation];
        let slot = deliver(store, layout, release)?;
        store.apply(
            &Transition::Stage {
                slot,
                issued: release.issued,
                activate: true,
            },
            now(),
        )?;
        Ok(())
    }

    fn confirm(&self, store: &mut Store, generation: u64) -> Outcome<()> {
        self.stage(store, generation)?;
        store.apply(&Transition::BeginTrial { tries: 1 }, now())?;
        store.save_state(release_of(store), b"what it keeps")?;
        store.apply(&Transition::Confirm, now())?;
        Ok(())
    }

    /// From a device on which generation 1 is live: 2 is confirmed after a restart, 3 is rolled back, 4 half arrives,
    /// then arrives whole and waits.
    fn cycle(&self, data: &Path, faults: &Faults) -> Outcome<()> {
        let mut store = Store::open_with(data, faults.clone())?;
        self.stage(&mut store, 2)?;
        store.apply(&Transition::BeginTrial { tries: 1 }, now())?;
        drop(store);
        let mut store = Store::open_with(data, faults.clone())?;
        store.apply(&Transition::TryAgain, now())?;
        store.save_state(release_of(&store), b"what it keeps")?;
        store.apply(&Transition::Confirm, now())?;
        self.stage(&mut store, 3)?;
        store.apply(&Transition::BeginTrial { tries: 1 }, now())?;
        store.apply(&Transition::RollBack(cause()), now())?;
        store.collect_garbage(&[], None)?;
        let (layout, release) = &self.by_generation[&4];
        store.keep_package(release, now())?;
        let model = release.models["detect"].variants[0].blob;
        let index = index_of(layout, release, &model);
        let partial = store.blobs().partial(&index)?;
        partial.put(0, &piece(&index, &layout.read(&model)?, 0))?;
        drop(partial);
        store.collect_garbage(&[release.digest()], None)?;
        drop(store);
        let mut store = Store::open_with(data, faults.clone())?;
        self.stage(&mut store, 4)?;
        Ok(())
    }

    /// What must hold of a data folder whatever has happened to it.
    fn assert_sound(&self, data: &Path) -> Store {
        let store = Store::open(data).unwrap();
        let ledger = store.ledger();
        for slot in ledger.slots() {
            assert_eq!(
                self.deployer.start(&store, slot).generation,
                slot.generation
            );
        }
        let live = ledger.live.as_ref().expect("a release serves");
        assert_eq!(ledger.floor["ocr"].generation, live.generation);
        if let Some(trial) = &ledger.trial {
            assert!(trial.tries_left <= 1 && trial.slot.generation > live.generation);
        }
        for folder in ["", "blobs/sha256", "parts", "state"] {
            let folder = data.join(folder);
            if folder.exists() {
                let left = names(&folder);
                assert!(left.iter().all(|n| !n.ends_with(".part")), "{left:?}");
            }
        }
        store
    }

    /// Goes on as a daemon does that has just started, with two more releases; says how much is in use then.
    fn complete(&self, store: &mut Store) -> u64 {
        if let Some(trial) = store.ledger().trial.clone() {
            let next = match trial.tries_left {
                0 => Transition::RollBack(cause()),
                _ => Transition::TryAgain,
            };
            store.apply(&next, now()).unwrap();
        }
        self.confirm_anyway(store, 5);
        self.confirm_anyway(store, 6);
        let generation = |slot: &hotshoe_store::Slot| slot.generation;
        let ledger = store.ledger();
        assert_eq!(ledger.live.as_ref().map(generation), Some(6));
        assert_eq!(ledger.previous.as_ref().map(generation), Some(5));
        assert_eq!((&ledger.staged, &ledger.trial), (&None, &None));
        let freed = store.collect_garbage(&[], None).unwrap();
        assert_eq!(freed.used, store.usage().unwrap());
        freed.used
    }

    /// A trial that still runs ends first.
    fn confirm_anyway(&self, store: &mut Store, generation: u64) {
        if store.ledger().trial.is_some() {
            store.apply(&Transition::RollBack(cause()), now()).unwrap();
        }
        self.confirm(store, generation).unwrap();
    }
}

fn cause() -> Cause {
    Cause::new("trap_rate", "3 of 20 samples trapped")
}

fn release_of(store: &Store) -> hotshoe_trust::Digest {
    store.ledger().trial.as_ref().unwrap().slot.release
}

/// A copy of a folder, for a test that spoils it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Runs the cycle with a fault at every step, two threads at a time; says how many steps there are, and in which
/// states the folder was found.
fn strike_everywhere(fault: fn(u64) -> Faults, check: fn(&Store, &Outcome<()>)) -> u64 {
    let releases = Releases::new();
    let first = tempfile::tempdir().unwrap();
    let clean = {
        let mut store = Store::open(first.path()).unwrap();
        let layout = &releases.by_generation[&1].0;
        releases.deployer.install(&mut store, layout);
        drop(store);
        let data = tempfile::tempdir().unwrap();
        copy(first.path(), data.path());
        releases.cycle(data.path(), &Faults::never()).unwrap();
        releases.complete(&mut releases.assert_sound(data.path()))
    };
    let (next, last) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let steps = next.fetch_add(1, Ordering::Relaxed);
                    if steps > last.load(Ordering::Relaxed) {
                        break;
                    }
                    let data = tempfile::tempdir().unwrap();
                    copy(first.path(), data.path());
                    let faults = fault(steps);
                    let outcome = releases.cycle(data.path(), &faults);
                    let mut store = releases.assert_sound(data.path());
                    check(&store, &outcome);
                    assert_eq!(releases.complete(&mut store), clean, "after {steps} steps");
                    if outcome.is_ok() {
                        last.fetch_min(steps, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    last.into_inner()
}

#[test]
fn a_power_cut_at_any_step_leaves_the_old_release_or_a_bounded_trial() {
    let steps = strike_everywhere(Faults::after, |store, outcome| {
        if outcome.is_ok() {
            let staged = store.ledger().staged.as_ref();
            assert_eq!(staged.map(|slot| slot.generation), Some(4));
        }
    });
    assert!(steps > 120, "only {steps} steps were cut");
}

#[test]
fn a_full_disk_at_any_step_leaves_the_old_release_or_a_bounded_trial() {
    let steps = strike_everywhere(Faults::full_after, |_, outcome| {
        if let Err(error) = outcome {
            let mut source: Option<&(dyn Error + 'static)> = Some(&**error);
            let mut text = String::new();
            while let Some(error) = source {
                text = format!("{text}{error}: ");
                source = error.source();
            }
            assert!(text.contains("the disk is full"), "{text}");
        }
    });
    assert!(steps > 60, "only {steps} steps were refused");
}

#[test]
fn a_full_disk_can_be_cleared_and_the_work_goes_on() {
    let releases = Releases::new();
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::open(data.path()).unwrap();
    releases
        .deployer
        .install(&mut store, &releases.by_generation[&1].0);
    drop(store);
    // A blob that is no longer needed, and a full disk from the start.
    let mut store = Store::open(data.path()).unwrap();
    let unneeded = store.blobs().put(&noise(1, 1000)).unwrap();
    drop(store);
    store = Store::open_with(data.path(), Faults::full_after(0)).unwrap();
    let before = store.ledger().clone();
    let error = releases.stage(&mut store, 2).unwrap_err();
    let error = error.downcast_ref::<hotshoe_store::BlobError>().unwrap();
    assert_eq!(error.name(), "disk_full");
    let slot = before.live.clone().unwrap();
    let refused = store.apply(
        &Transition::Fail(slot_of(&slot, 9), hotshoe_store::Phase::Failed, cause()),
        now(),
    );
    assert_eq!(refused.unwrap_err().name(), "disk_full");
    assert_eq!(*store.ledger(), before);
    let freed = store.collect_garbage(&[], Some(100)).unwrap();
    assert_eq!((freed.files, freed.bytes), (1, unneeded.size));
    assert_eq!(freed.over, freed.used - 100);
    drop(store);
    let mut store = releases.assert_sound(data.path());
    assert_eq!(*store.ledger(), before);
    releases.stage(&mut store, 2).unwrap();
}

fn slot_of(slot: &hotshoe_store::Slot, generation: u64) -> hotshoe_store::Slot {
    hotshoe_store::Slot {
        release: hotshoe_trust::Digest::of(&generation.to_le_bytes()),
        generation,
        ..slot.clone()
    }
}

#[test]
fn garbage_collection_keeps_what_a_slot_needs_and_what_is_asked_for() {
    let releases = Releases::new();
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::open(data.path()).unwrap();
    for generation in 1..=3 {
        releases.confirm(&mut store, generation).unwrap();
    }
    releases.stage(&mut store, 4).unwrap();
    let held =
        |data: &Path| -> BTreeSet<PathBuf> { common::blob_files(data).into_iter().collect() };
    let before = held(data.path());
    // The first of all has no slot any more.
    let (layout, first) = &releases.by_generation[&1];
    let all = store.collect_garbage(&[first.digest()], None).unwrap();
    assert_eq!(
        (held(data.path()).len(), all.files),
        (before.len() - 1, 1),
        "its signature"
    );
    deliver(&store, layout, first).unwrap();
    let freed = store.collect_garbage(&[], None).unwrap();
    // Model, index, config, manifest, signature and state.
    assert_eq!(freed.files, 6, "{freed:?}");
    for slot in store.ledger().slots() {
        releases.deployer.start(&store, slot);
    }
    // A quota that cannot be kept takes nothing that is needed.
    let squeezed = store.collect_garbage(&[], Some(1000)).unwrap();
    assert_eq!((squeezed.files, squeezed.over), (0, squeezed.used - 1000));
    // A slot with a damaged manifest: its blobs are unknown, so nothing is removed.
    let manifest = store.ledger().previous.as_ref().unwrap().release.hex();
    common::flip_a_bit(&data.path().join("blobs/sha256").join(manifest));
    store.blobs().put(b"unneeded").unwrap();
    let before = held(data.path());
    let refused = store.collect_garbage(&[], None).unwrap_err();
    assert_eq!(refused.name(), "damaged_blob");
    assert_eq!(held(data.path()), before);
}

#[test]
fn states_are_kept_by_release_and_bounded() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let (one, two) = (
        hotshoe_trust::Digest::of(b"1"),
        hotshoe_trust::Digest::of(b"2"),
    );
    assert_eq!(store.load_state(one).unwrap(), None);
    store.save_state(one, b"a").unwrap();
    store.save_state(one, b"b").unwrap();
    store.save_state(two, b"c").unwrap();
    assert_eq!(store.load_state(one).unwrap().as_deref(), Some(&b"b"[..]));
    store.drop_state(one).unwrap();
    store.drop_state(one).unwrap();
    assert_eq!(store.load_state(one).unwrap(), None);
    assert_eq!(store.load_state(two).unwrap().as_deref(), Some(&b"c"[..]));
    let limit = usize::try_from(hotshoe_store::MAX_STATE_BYTES).unwrap();
    let refused = store.save_state(two, &vec![0; limit + 1]).unwrap_err();
    assert_eq!(refused.name(), "too_large");
}
