//! The sampler on a recorded tree below a temporary folder.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use hotshoe_base::VirtualClock;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_senses::{FaultKind, MAX_FILE_BYTES, MAX_HUNG, Places, Reading, Sample, Sampler};
use hotshoe_tests::{DEADLINE, until};

use crate::recorded::{DEVICE, write};

/// Long enough for a read on a busy machine; a test of what hangs waits for it.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
const ZONE_0: &str = "sys/class/thermal/thermal_zone0/temp";

fn places(root: &Path) -> Places {
    Places {
        root: root.to_owned(),
        data: root.to_owned(),
        read_timeout: READ_TIMEOUT,
    }
}

fn recorded() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in DEVICE {
        write(root.path(), path, content);
    }
    root
}

fn kind_of(reading: &Reading, path: &str) -> Option<FaultKind> {
    let mut faults = reading.faults.iter();
    faults.find(|it| it.path == path).map(|it| it.kind)
}

/// Replaces a file by a pipe. Opening it hangs until there is a writer, as the file of a driver that does not answer.
fn make_pipe(root: &Path, path: &str) {
    let path = root.join(path);
    fs::remove_file(&path).unwrap();
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
}

/// Opens a pipe that something waits for. What reads it then waits for bytes.
fn open_writer(path: &Path) -> File {
    let mut writer = None;
    until("something reads the pipe", || {
        // Without a reader, such an open fails.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open(path);
        writer = opened.ok();
        writer.is_some()
    });
    writer.unwrap()
}

#[test]
fn a_round_reads_the_tree_and_the_space_of_the_data_folder() {
    let root = recorded();
    // The kernel's folders of sensors are links.
    let zones = root.path().join("sys/class/thermal");
    fs::create_dir_all(root.path().join("sys/devices/virtual")).unwrap();
    fs::rename(
        zones.join("thermal_zone2"),
        root.path().join("sys/devices/virtual/zone2"),
    )
    .unwrap();
    symlink("../../devices/virtual/zone2", zones.join("thermal_zone2")).unwrap();
    let mut sampler = Sampler::new(places(root.path()), Supervisor::default());
    let reading = sampler.round();
    assert_eq!(reading.faults, []);
    assert_eq!(reading.hottest().unwrap().celsius, 51.0);
    assert_eq!(reading.charge_percent(), Some(42.0));
    let space = reading.data.unwrap();
    assert!(space.free_bytes <= space.total_bytes && space.total_bytes > 0);
    // The clock, by systemd's time client.
    assert_eq!(reading.is_clock_synchronised, None);
    fs::create_dir_all(root.path().join("run/systemd/timesync")).unwrap();
    assert_eq!(sampler.round().is_clock_synchronised, Some(false));
    write(root.path(), "run/systemd/timesync/synchronized", "");
    assert_eq!(sampler.round().is_clock_synchronised, Some(true));
}

#[test]
fn a_tree_without_sensors_has_no_values_and_no_faults() {
    let root = tempfile::tempdir().unwrap();
    let mut reading = Sampler::new(places(root.path()), Supervisor::default()).round();
    reading.data = None;
    assert_eq!(reading, Reading::default());
}

#[test]
fn what_cannot_be_read_is_named() {
    let root = recorded();
    let zone_2 = "sys/class/thermal/thermal_zone2/temp";
    let size = usize::try_from(MAX_FILE_BYTES).unwrap() + 1;
    write(root.path(), ZONE_0, &"1".repeat(size));
    fs::remove_file(root.path().join(zone_2)).unwrap();
    fs::create_dir(root.path().join(zone_2)).unwrap();
    let mut places = places(root.path());
    places.data = root.path().join("missing");
    let reading = Sampler::new(places, Supervisor::default()).round();
    assert_eq!(kind_of(&reading, ZONE_0), Some(FaultKind::TooLarge));
    assert_eq!(kind_of(&reading, zone_2), Some(FaultKind::Failed));
    assert_eq!(reading.faults.len(), 2);
    assert_eq!(reading.data, None);
    assert_eq!(reading.thermal.len(), 1);
}

#[test]
fn a_sensor_that_hangs_is_named_and_costs_no_other_and_comes_back() {
    let root = recorded();
    make_pipe(root.path(), ZONE_0);
    let supervisor = Supervisor::default();
    let mut sampler = Sampler::new(places(root.path()), supervisor.clone());
    let readers = || {
        let mut parts = supervisor.list().into_iter();
        let reader = parts.find(|part| part.name == "sensor-reader");
        reader.map_or(0, |part| part.threads)
    };
    // The second round neither waits for it nor reads it a second time.
    for _ in 0..2 {
        let reading = sampler.round();
        assert_eq!(kind_of(&reading, ZONE_0), Some(FaultKind::TimedOut));
        assert_eq!(reading.faults.len(), 1);
        assert_eq!(reading.thermal.len(), 2);
        assert_eq!(reading.rapl.len(), 1);
        assert_eq!(reading.charge_percent(), Some(42.0));
        // Those that do not hang end by themselves.
        until("the readers that do not hang have ended", || readers() == 1);
    }
    let writer = open_writer(&root.path().join(ZONE_0));
    fs::remove_file(root.path().join(ZONE_0)).unwrap();
    write(root.path(), ZONE_0, "60000");
    drop(writer);
    until("the sensor is read again", || {
        sampler.round().faults.is_empty()
    });
    let reading = sampler.round();
    assert_eq!(reading.hottest().unwrap().celsius, 60.0);
}

#[test]
fn the_files_of_one_sensor_hang_together() {
    let root = recorded();
    let battery = "sys/class/power_supply/BAT0";
    for file in ["type", "present", "status", "capacity"] {
        make_pipe(root.path(), &format!("{battery}/{file}"));
    }
    let mut sampler = Sampler::new(places(root.path()), Supervisor::default());
    for _ in 0..2 {
        let reading = sampler.round();
        let [fault] = &reading.faults[..] else {
            panic!("{:?}", reading.faults)
        };
        assert_eq!(fault.path, format!("{battery}/type"));
        assert_eq!(fault.kind, FaultKind::TimedOut);
        assert_eq!(reading.batteries, []);
        assert_eq!(reading.mains.len(), 1);
    }
    drop(open_writer(&root.path().join(battery).join("type")));
}

#[test]
fn a_round_begins_with_each_period_of_the_clock() {
    const PERIOD: Duration = Duration::from_secs(2);
    let root = recorded();
    let time = VirtualClock::at(SystemTime::UNIX_EPOCH);
    let supervisor = Supervisor::timed_by(time.clock());
    let (sender, samples) = channel();
    let _sampling = Sampler::new(places(root.path()), supervisor)
        .start(PERIOD, move |sample| {
            let _ = sender.send(sample);
        })
        .unwrap();
    for round in 0..3 {
        let sample = samples.recv_timeout(DEADLINE).unwrap();
        assert_eq!((sample.at, sample.took), (PERIOD * round, Duration::ZERO));
        assert_eq!(sample.reading.faults, []);
        time.await_waiting(1);
        time.advance(PERIOD);
    }
}

#[test]
fn the_number_of_sensors_that_hang_is_limited() {
    let root = recorded();
    let paths: Vec<String> = (20..20 + MAX_HUNG + 2)
        .map(|zone| format!("sys/class/thermal/thermal_zone{zone}/temp"))
        .collect();
    for path in &paths {
        write(root.path(), path, "");
        make_pipe(root.path(), path);
    }
    let places = Places {
        // It is waited for so many times.
        read_timeout: Duration::from_secs(1),
        ..places(root.path())
    };
    let supervisor = Supervisor::default();
    let mut sampler = Sampler::new(places, supervisor);
    let reading = sampler.round();
    for (at, path) in paths.iter().enumerate() {
        let expected = if at < MAX_HUNG {
            FaultKind::TimedOut
        } else {
            FaultKind::NotRead
        };
        assert_eq!(kind_of(&reading, path), Some(expected), "{path}");
    }
    assert_eq!(reading.thermal.len(), 3);
    // The readers end.
    let writers: Vec<File> = paths
        .iter()
        .take(MAX_HUNG)
        .map(|path| open_writer(&root.path().join(path)))
        .collect();
    drop(writers);
}

/// The samples until one is as expected.
fn await_sample(samples: &Receiver<Sample>, is_expected: impl Fn(&Reading) -> bool) -> Sample {
    let end = Instant::now() + DEADLINE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let sample = samples.recv_timeout(left).unwrap();
        if is_expected(&sample.reading) {
            return sample;
        }
    }
}

#[test]
fn a_running_sampler_sees_a_sensor_change_disappear_and_return_and_ends_when_it_is_dropped() {
    let root = recorded();
    let (sender, samples) = channel();
    let supervisor = Supervisor::default();
    let sampling = Sampler::new(places(root.path()), supervisor.clone())
        .start(Duration::from_millis(5), move |sample| {
            let _ = sender.send(sample);
        })
        .unwrap();
    let hottest = |reading: &Reading| reading.hottest().map(|zone| zone.celsius);
    let first = await_sample(&samples, |it| hottest(it) == Some(51.0));
    write(root.path(), ZONE_0, "81000");
    let second = await_sample(&samples, |it| hottest(it) == Some(81.0));
    assert!(second.at > first.at);
    let zone = root.path().join("sys/class/thermal/thermal_zone0");
    fs::rename(&zone, root.path().join("gone")).unwrap();
    let third = await_sample(&samples, |it| hottest(it) == Some(51.0));
    assert_eq!(third.reading.thermal.len(), 2);
    fs::rename(root.path().join("gone"), &zone).unwrap();
    await_sample(&samples, |it| hottest(it) == Some(81.0));
    drop(sampling);
    until("the sampler has ended", || {
        supervisor.list().iter().all(|part| part.name != "senses")
    });
    assert_eq!(supervisor.dead(), []);
}
