//! What is written to outputs, and what a write that fails or hangs costs.

use std::fs;
use std::path::Path;
use std::process::Command;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::GovernorOutput;
use hotshoe_daemon::governor::outputs::{Outputs, Wanted};
use tempfile::TempDir;

fn output(path: &Path, off: u32, full: u32) -> GovernorOutput {
    GovernorOutput {
        file: path.to_owned(),
        off,
        full,
    }
}

fn wanted(outputs: &[(&str, &GovernorOutput, u8)]) -> Wanted {
    let outputs = outputs.iter();
    outputs
        .map(|(name, output, percent)| ((*name).to_owned(), ((*output).clone(), *percent)))
        .collect()
}

fn file(folder: &TempDir, name: &str) -> std::path::PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, "what was there before").unwrap();
    path
}

#[test]
fn the_number_is_between_off_and_full_and_replaces_what_was_there() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "pwm1");
    for (off, full, percent, expected) in [
        (0, 255, 0, "0"),
        (0, 255, 50, "128"),
        (0, 255, 100, "255"),
        (100, 200, 25, "125"),
        // One that is set lower to cool more.
        (255, 0, 0, "255"),
        (255, 0, 100, "0"),
        (10, 0, 25, "7"),
    ] {
        let fan = output(&path, off, full);
        let mut outputs = Outputs::new(Supervisor::default());
        assert!(outputs.set(&wanted(&[("fan", &fan, percent)])).is_empty());
        let written = fs::read_to_string(&path).unwrap();
        assert_eq!(written, expected, "{off} {full} {percent}");
    }
}

#[test]
fn an_output_is_written_when_it_changes_and_turned_off_when_it_is_gone() {
    let folder = TempDir::new().unwrap();
    let (fan, lamp) = (file(&folder, "fan"), file(&folder, "lamp"));
    let (fan, lamp) = (output(&fan, 0, 255), output(&lamp, 5, 9));
    let read = |of: &GovernorOutput| fs::read_to_string(&of.file).unwrap();
    let mut outputs = Outputs::new(Supervisor::default());
    outputs.set(&wanted(&[("fan", &fan, 100), ("lamp", &lamp, 100)]));
    assert_eq!((read(&fan), read(&lamp)), ("255".into(), "9".into()));
    // What another program writes meanwhile stays while the plan is the same.
    fs::write(&fan.file, "other").unwrap();
    outputs.set(&wanted(&[("fan", &fan, 100)]));
    assert_eq!((read(&fan), read(&lamp)), ("other".into(), "5".into()));
    assert!(outputs.turn_off().is_empty());
    assert_eq!(read(&fan), "0");
}

#[test]
fn of_two_outputs_of_one_file_the_higher_one_counts_and_is_written_once() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "fan");
    let fan = output(&path, 0, 255);
    let mut outputs = Outputs::new(Supervisor::default());
    for (one, other) in [(100, 20), (20, 100)] {
        outputs.set(&wanted(&[("a", &fan, one), ("b", &fan, other)]));
        assert_eq!(fs::read_to_string(&path).unwrap(), "255");
    }
    // Nothing has changed, so that nothing is written.
    fs::write(&path, "other").unwrap();
    outputs.set(&wanted(&[("a", &fan, 20), ("b", &fan, 100)]));
    assert_eq!(fs::read_to_string(&path).unwrap(), "other");
}

#[test]
fn a_file_that_is_not_there_is_named_once_and_tried_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("later");
    let fan = output(&path, 0, 255);
    let mut outputs = Outputs::new(Supervisor::default());
    let faults = outputs.set(&wanted(&[("fan", &fan, 50)]));
    assert_eq!(faults.len(), 1);
    assert_eq!((&faults[0].path, faults[0].fault), (&path, "failed"));
    assert!(outputs.set(&wanted(&[("fan", &fan, 50)])).is_empty());
    // It is not created.
    assert!(!path.exists());
    fs::write(&path, "").unwrap();
    assert!(outputs.set(&wanted(&[("fan", &fan, 50)])).is_empty());
    assert_eq!(fs::read_to_string(&path).unwrap(), "128");
}

#[test]
fn a_write_that_hangs_costs_its_own_output() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let (hangs, fan) = (output(&pipe, 0, 255), output(&file(&folder, "fan"), 0, 255));
    let mut outputs = Outputs::new(Supervisor::default());
    let faults = outputs.set(&wanted(&[("a", &hangs, 100), ("fan", &fan, 50)]));
    assert_eq!(faults.len(), 1);
    assert_eq!((&faults[0].path, faults[0].fault), (&pipe, "timed_out"));
    assert_eq!(fs::read_to_string(&fan.file).unwrap(), "128");
    // It is not written again while the thread hangs, and not named again.
    let again = wanted(&[("a", &hangs, 0), ("fan", &fan, 100)]);
    assert!(outputs.set(&again).is_empty());
    assert_eq!(fs::read_to_string(&fan.file).unwrap(), "255");
    // A reader lets the write end.
    assert_eq!(fs::read_to_string(&pipe).unwrap(), "255");
}
