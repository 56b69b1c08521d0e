#![allow(clippy::unwrap_used, reason = "tests")]
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use hotshoe_base::VirtualClock;
use hotshoe_trust::{DeviceSelector, SigningKey, Statement};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn worker(folder: &Path, clock: Clock, key: &SigningKey) -> RegistryWorker {
    let entry = TrustRoot::key_entry("o", &key.public_key().unwrap(), &["*"]);
    let trust = TrustRoot::parse(&format!("threshold = 1\n{entry}")).unwrap();
    let record = Record::load(&folder.join("registry.json")).unwrap();
    let state = State::new(record, trust, time_of(clock.wall()));
    RegistryWorker {
        site: "lab".to_owned(),
        name: "one".to_owned(),
        instance: "1".to_owned(),
        others: OtherRegistries::default(),
        record_file: folder.join("registry.json"),
        quota: AtomicU64::new(1 << 30),
        keep: AtomicUsize::new(16),
        blobs: BlobStore::open(folder).unwrap(),
        catalogue: Catalogue::new(),
        state: Mutex::new(state),
        changed: Condvar::new(),
        refused: AtomicU64::new(0),
        damaged: AtomicU64::new(0),
        reports: sync_channel(1).0,
        clock,
    }
}

/// A statement about the release `name`, issued now and valid for seven days.
fn statement(name: &str, clock: &Clock, key: &SigningKey) -> RawNotice {
    let mut envelope = Envelope::new(&Statement {
        site: "lab".to_owned(),
        devices: DeviceSelector::default(),
        order: Order::Deploy {
            release: Digest::of(name.as_bytes()),
            name: name.to_owned(),
            generation: 1,
            bundles: Vec::new(),
            activate: true,
        },
        issued: time_of(clock.wall()),
        expires: time_of(clock.wall() + 7 * DAY),
    })
    .unwrap();
    envelope.sign(key).unwrap();
    RawNotice {
        name: name.to_owned(),
        bytes: envelope.to_bytes(),
    }
}

fn virtual_clock() -> VirtualClock {
    VirtualClock::at(std::time::UNIX_EPOCH + 20_000 * DAY)
}

#[test]
fn a_release_that_cannot_be_fetched_is_tried_for_hours_with_doubling_delays() {
    let (time, folder, key) = (
        virtual_clock(),
        tempfile::tempdir().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let clock = time.clock();
    let worker = Arc::new(worker(folder.path(), clock.clone(), &key));
    worker.on_statement(&statement("ocr", &clock, &key));
    let (tried, tries) = channel();
    let (started, trying) = (clock.now(), Arc::clone(&worker));
    let thread = thread::spawn(move || {
        while let Some((job, _)) = trying.next() {
            tried.send(trying.clock.elapsed(started)).unwrap();
            let mut state = trying.lock();
            state.in_progress = None;
            trying.postpone(&mut state, job, &FetchError::Cancelled);
        }
    });
    time.await_waiting(1);
    time.advance(6 * HOUR);
    worker.close();
    thread.join().unwrap();
    let (mut expected, mut at, mut delay) = (Vec::new(), Duration::ZERO, FIRST_DELAY);
    while at <= 6 * HOUR {
        expected.push(at);
        at += delay;
        delay = (delay * 2).min(LONGEST_DELAY);
    }
    assert_eq!(tries.try_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn over_a_month_statements_expire_and_a_step_of_the_wall_clock_delays_no_fetch() {
    let (time, folder, key) = (
        virtual_clock(),
        tempfile::tempdir().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let clock = time.clock();
    let worker = worker(folder.path(), clock.clone(), &key);
    let refused = || worker.refused.load(Ordering::Relaxed);
    let first = statement("ocr-0", &clock, &key);
    for day in 0..30_usize {
        worker.on_statement(&statement(&format!("ocr-{day}"), &clock, &key));
        assert_eq!(worker.lock().record.statements.len(), (day + 1).min(7));
        time.advance(DAY);
    }
    assert_eq!(refused(), 0);
    worker.on_statement(&first);
    assert_eq!(refused(), 1, "it has expired");
    let (today, newest) = (clock.wall(), statement("ocr-30", &clock, &key));
    time.set_wall(today - 2 * DAY);
    worker.on_statement(&newest);
    assert_eq!(refused(), 2, "it is from the future");
    assert!(worker.next().is_some());
    time.set_wall(today);
    worker.on_statement(&newest);
    assert_eq!(refused(), 2);
}

#[test]
fn a_statement_from_a_clock_that_is_ahead_does_not_keep_a_later_one_out() {
    let (time, folder, key) = (
        virtual_clock(),
        tempfile::tempdir().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let clock = time.clock();
    let worker = worker(folder.path(), clock.clone(), &key);
    let kept = || -> Vec<Vec<u8>> {
        let state = worker.lock();
        let statements = state.record.statements.iter();
        statements
            .map(|kept| kept.envelope.clone().into_bytes())
            .collect()
    };
    let now = clock.wall();
    time.set_wall(now + Duration::from_secs(240));
    let ahead = statement("ocr", &clock, &key);
    time.set_wall(now);
    worker.on_statement(&ahead);
    assert_eq!(kept(), [ahead.bytes.as_slice()]);
    time.advance(Duration::from_secs(10));
    let later = statement("ocr", &clock, &key);
    worker.on_statement(&later);
    assert_eq!(kept(), [later.bytes.as_slice()]);
    // It is heard again, also when its time has come.
    for _ in 0..2 {
        worker.on_statement(&ahead);
        assert_eq!(kept(), [later.bytes.as_slice()]);
        time.advance(Duration::from_secs(600));
    }
    assert_eq!(worker.refused.load(Ordering::Relaxed), 0);
}

fn stored(name: &str, generation: u64) -> StoredRelease {
    StoredRelease {
        name: name.to_owned(),
        generation,
        release: Digest::of(format!("{name} {generation}").as_bytes()),
        bundles: Vec::new(),
        issued: time_of(std::time::UNIX_EPOCH + 20_000 * DAY),
    }
}

#[test]
fn no_blob_is_removed_while_the_manifest_of_a_stored_release_cannot_be_read() {
    let (time, folder, key) = (
        virtual_clock(),
        tempfile::tempdir().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let worker = worker(folder.path(), time.clock(), &key);
    let blob = worker.blobs.put(b"weights").unwrap();
    let mut state = worker.lock();
    state.record.add_release(stored("ocr", 1));
    worker.enforce_quota(&mut state);
    assert!(worker.blobs.has(&blob));
    state.record.releases.clear();
    worker.enforce_quota(&mut state);
    drop(state);
    assert!(!worker.blobs.has(&blob));
}

#[test]
fn a_blob_that_is_good_by_now_is_not_set_aside() {
    let (time, folder, key) = (
        virtual_clock(),
        tempfile::tempdir().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let worker = worker(folder.path(), time.clock(), &key);
    let damaged = || worker.damaged.load(Ordering::Relaxed);
    let blob = worker.blobs.put(b"bundle").unwrap();
    let mut held = stored("ocr", 1);
    held.bundles.push(blob.digest);
    worker.lock().record.add_release(held);
    worker.on_damaged(blob.digest);
    assert!(worker.blobs.has(&blob));
    assert_eq!((damaged(), worker.lock().held().count()), (0, 1));
    worker.blobs.remove(blob.digest).unwrap();
    worker.on_damaged(blob.digest);
    assert_eq!((damaged(), worker.lock().held().count()), (1, 0));
}

#[test]
fn a_release_that_newer_ones_would_displace_is_refused_and_not_fetched() {
    let (time, folder, key) = (
        virtual_clock(),
        tempfile::tempdir().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let clock = time.clock();
    let worker = worker(folder.path(), clock.clone(), &key);
    worker.keep.store(1, Ordering::Relaxed);
    worker.lock().record.add_release(stored("ocr", 2));
    // Of generation 1.
    worker.on_statement(&statement("ocr", &clock, &key));
    let state = worker.lock();
    assert!(state.jobs.is_empty());
    let kept = state.kept.list();
    let states: Vec<_> = kept.iter().map(|kept| kept.state).collect();
    assert_eq!(states, [KeptState::Refused]);
}

#[test]
fn after_a_restart_a_statement_from_a_clock_that_is_ahead_does_not_keep_a_later_one_out() {
    let (time, folder, key) = (
        virtual_clock(),
        tempfile::tempdir().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let clock = time.clock();
    let first = worker(folder.path(), clock.clone(), &key);
    let now = clock.wall();
    time.set_wall(now + Duration::from_secs(240));
    let ahead = statement("ocr", &clock, &key);
    time.set_wall(now);
    first.on_statement(&ahead);
    drop(first);
    let second = worker(folder.path(), clock.clone(), &key);
    time.advance(Duration::from_secs(10));
    let later = statement("ocr", &clock, &key);
    second.on_statement(&later);
    let state = second.lock();
    let kept = state.record.statements.iter();
    let kept: Vec<&[u8]> = kept.map(|kept| kept.envelope.as_bytes()).collect();
    assert_eq!(kept, [later.bytes.as_slice()]);
}

#[test]
fn a_release_that_was_stored_before_is_tried_again_also_after_a_permanent_error() {
    let (time, folder, key) = (
        virtual_clock(),
        tempfile::tempdir().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let worker = worker(folder.path(), time.clock(), &key);
    let held = stored("ocr", 1);
    let wrong = FetchError::TooLarge {
        release: held.release,
        what: "bundles",
    };
    let mut state = worker.lock();
    state.record.add_release(held.clone());
    worker.fetch_again(&mut state, vec![held]);
    let job = state.jobs.remove(0);
    worker.postpone(&mut state, job, &wrong);
    assert_eq!(state.jobs.len(), 1);
    state.incomplete.clear();
    let job = state.jobs.remove(0);
    worker.postpone(&mut state, job, &wrong);
    assert!(state.jobs.is_empty());
}

#[test]
fn blobs_of_packages_that_cannot_be_verified_stay_until_the_quota_is_exceeded() {
    let (time, folder, key) = (
        virtual_clock(),
        tempfile::tempdir().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let worker = worker(folder.path(), time.clock(), &key);
    let blob = worker.blobs.put(b"weights").unwrap();
    let mut state = worker.lock();
    state.record.unverified.insert(blob.digest);
    worker.enforce_quota(&mut state);
    assert!(worker.blobs.has(&blob));
    worker.quota.store(1, Ordering::Relaxed);
    worker.enforce_quota(&mut state);
    assert!(state.record.unverified.is_empty());
    drop(state);
    assert!(!worker.blobs.has(&blob));
}
