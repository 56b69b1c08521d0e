#![allow(clippy::unwrap_used, reason = "tests")]

use hotshoe_base::VirtualClock;
use tempfile::TempDir;

use super::*;

/// A device whose process is started and ended.
struct Machine {
    data: TempDir,
    config: DeployConfig,
    boot: Option<String>,
    time: VirtualClock,
}

impl Machine {
    fn new() -> Self {
        Self {
            data: TempDir::new().unwrap(),
            config: DeployConfig::default(),
            boot: Some("first".to_owned()),
            time: VirtualClock::at(std::time::SystemTime::UNIX_EPOCH),
        }
    }

    fn start(&self, faults: Faults) -> StartRecord {
        StartRecord::on(
            Disk::new(faults),
            self.data.path(),
            &self.config,
            self.boot.clone(),
            self.time.clock(),
        )
    }

    /// Starts with a release, if it is not given up, and is killed. Returns whether it was loaded.
    fn crash(&self, live: &Slot) -> bool {
        let record = self.start(Faults::never());
        let is_loaded = record.crash_loop(live).is_none();
        if is_loaded {
            record.begin(live);
        } else {
            record.give_up(live);
        }
        // SIGKILL runs no destructor.
        std::mem::forget(record);
        is_loaded
    }
}

fn slot(name: &str) -> Slot {
    Slot {
        release: Digest::of(name.as_bytes()),
        bundles: Vec::new(),
        name: name.to_owned(),
        generation: 1,
        installed: Time::UNIX_EPOCH,
    }
}

#[test]
fn the_third_unexpected_end_in_a_row_is_a_loop_and_it_stays_one() {
    let (machine, live) = (Machine::new(), slot("a"));
    let loaded = [(); 5].map(|()| machine.crash(&live));
    assert_eq!(loaded, [true, true, true, false, false]);
    let cause = machine.start(Faults::never()).crash_loop(&live).unwrap();
    assert_eq!(cause.name, "crash_loop");
    assert!(cause.message.contains("3 times"), "{}", cause.message);
    assert!(cause.message.contains("300 s"), "{}", cause.message);
    // Another release, and this one when it is installed again, are counted by themselves.
    assert!(machine.crash(&slot("b")));
    let again = Slot {
        installed: Time::UNIX_EPOCH + Duration::from_secs(1),
        ..live
    };
    assert!(machine.crash(&again));
}

#[test]
fn an_end_in_order_does_not_count_and_does_not_forget() {
    let (machine, live) = (Machine::new(), slot("a"));
    assert!(machine.crash(&live) && machine.crash(&live));
    for _ in 0..5 {
        let record = machine.start(Faults::never());
        assert_eq!(record.crash_loop(&live), None);
        record.begin(&live);
    }
    assert!(machine.crash(&live));
    assert!(!machine.crash(&live));
}

#[test]
fn a_daemon_that_ran_for_long_enough_is_counted_from_the_start() {
    let (machine, live) = (Machine::new(), slot("a"));
    assert!(machine.crash(&live) && machine.crash(&live));
    let record = machine.start(Faults::never());
    record.begin(&live);
    machine.time.advance(Duration::from_secs(299));
    record.check();
    assert_eq!(machine.start(Faults::never()).crashes(&live), 3);
    machine.time.advance(Duration::from_secs(1));
    record.check();
    std::mem::forget(record);
    assert_eq!(machine.start(Faults::never()).crashes(&live), 0);
}

#[test]
fn a_restart_of_the_machine_does_not_count_and_gives_one_more_try() {
    let (mut machine, live) = (Machine::new(), slot("a"));
    for boot in 0..10 {
        machine.boot = Some(boot.to_string());
        assert!(machine.crash(&live));
    }
    // Twice more within the last of them.
    assert!(machine.crash(&live) && machine.crash(&live));
    assert!(!machine.crash(&live));
    machine.boot = Some("another".to_owned());
    assert!(machine.crash(&live));
    assert!(!machine.crash(&live));
}

#[test]
fn a_process_that_gives_itself_up_counts_and_zero_allows_any_number() {
    let (mut machine, live) = (Machine::new(), slot("a"));
    for _ in 0..3 {
        let record = machine.start(Faults::never());
        record.begin(&live);
        record.let_count();
        record.end();
    }
    assert!(machine.start(Faults::never()).crash_loop(&live).is_some());
    machine.config.max_crashes = 0;
    for _ in 0..9 {
        assert!(machine.crash(&live));
    }
}

#[test]
fn a_power_cut_or_a_full_disk_at_any_step_never_makes_a_loop_of_one_end() {
    let live = slot("a");
    let kinds: [fn(u64) -> Faults; 2] = [Faults::after, Faults::full_after];
    for faults in kinds {
        for step in 0..12 {
            let machine = Machine::new();
            let record = machine.start(faults(step));
            assert_eq!(record.crash_loop(&live), None);
            record.begin(&live);
            record.end();
            std::mem::forget(record);
            let crashes = machine.start(Faults::never()).crashes(&live);
            assert!(crashes <= 1, "step {step}: {crashes}");
        }
    }
}

#[test]
fn a_damaged_record_counts_nothing_and_a_newer_one_stays() {
    let (machine, live) = (Machine::new(), slot("a"));
    let path = machine.data.path().join(FILE);
    fs::write(&path, "{\"format\":1,\"rel").unwrap();
    assert_eq!(machine.start(Faults::never()).crash_loop(&live), None);
    assert!(machine.crash(&live));
    let newer = "{\"format\":99}";
    fs::write(&path, newer).unwrap();
    for _ in 0..5 {
        assert!(machine.crash(&live));
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
}
