//! The file: power cuts and full disks at every step, damage, and newer versions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::path::Path;

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_shared_data::{
    Definition, FILE, JsonText, Replica, Rule, SetAside, SharedDataError, SharedStore, Writer,
};
use serde_json::{Value, json};

fn json_text(value: &Value) -> JsonText {
    JsonText::of(value).unwrap()
}

fn open(folder: &Path, faults: Faults) -> (SharedStore, Option<SetAside>) {
    SharedStore::open(Disk::new(faults), folder, Writer::device("line-4")).unwrap()
}

fn define(replica: &mut Replica) -> Result<(), SharedDataError> {
    replica.define("setting", Definition::new(Rule::LastWriterWins));
    Ok(())
}

fn set(value: &Value, now_ms: u64) -> impl FnOnce(&mut Replica) -> Result<(), SharedDataError> {
    let text = json_text(value);
    move |replica| replica.set("setting", text, now_ms)
}

fn value(store: &SharedStore) -> Value {
    store.replica().view("setting").unwrap().value
}

#[test]
fn a_power_cut_or_a_full_disk_leaves_the_old_or_the_new_value() {
    for fault in [Faults::after, Faults::full_after] {
        let (mut failed, mut step) = (0, 0);
        loop {
            let folder = tempfile::tempdir().unwrap();
            let (mut store, _) = open(folder.path(), Faults::never());
            store.change(define).unwrap();
            store.change(set(&json!("old"), 1)).unwrap();
            let (mut store, _) = open(folder.path(), fault(step));
            let written = store.change(set(&json!("new"), 2));
            let (again, damaged) = open(folder.path(), Faults::never());
            assert!(damaged.is_none());
            match written {
                Ok(()) => {
                    assert_eq!((value(&store), value(&again)), (json!("new"), json!("new")));
                    break;
                }
                Err(error) => {
                    assert_eq!(error.name(), "io");
                    assert_eq!(value(&store), json!("old"));
                    // The rename may have happened before the folder could be synced.
                    assert!([json!("old"), json!("new")].contains(&value(&again)));
                    failed += 1;
                }
            }
            step += 1;
        }
        assert!(failed >= 2, "{failed} steps can fail");
    }
}

#[test]
fn an_unchanged_value_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path(), Faults::never());
    store.change(define).unwrap();
    // No step is left for a write.
    let (mut store, _) = open(folder.path(), Faults::after(0));
    store.change(define).unwrap();
    assert_eq!(store.change(set(&json!(1), 1)).unwrap_err().name(), "io");
}

#[test]
fn a_damaged_file_is_renamed_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let (mut store, _) = open(folder.path(), Faults::never());
    store.change(define).unwrap();
    store.change(set(&json!("value"), 7)).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    let damages = [
        whole[..whole.len() / 2].to_owned(),
        String::new(),
        whole.replace("last-writer-wins", "append"),
        whole.replace("line-4", ""),
        whole.replacen("\"format\":1", "\"format\":1,\"more\":2", 1),
    ];
    for damaged in damages {
        assert_ne!(damaged, whole);
        fs::write(&path, &damaged).unwrap();
        let (store, set_aside) = open(folder.path(), Faults::never());
        let set_aside = set_aside.unwrap();
        assert_eq!(set_aside.name(), "damaged_shared_data");
        assert_eq!(set_aside.path, path);
        assert_eq!(fs::read_to_string(&set_aside.to).unwrap(), damaged);
        assert!(!path.exists());
        assert_eq!(store.replica().names().count(), 0);
    }
    // A time that the clock has not reached: only one of the two is changed.
    fs::write(&path, whole.replacen("\"wall-ms\":7", "\"wall-ms\":6", 1)).unwrap();
    let (_, set_aside) = open(folder.path(), Faults::never());
    assert!(set_aside.unwrap().source.is_none());
}

#[test]
fn a_file_of_a_newer_version_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    fs::write(&path, r#"{"format":2,"new":{}}"#).unwrap();
    let opened = SharedStore::open(
        Disk::new(Faults::never()),
        folder.path(),
        Writer::device("line-4"),
    );
    assert_eq!(opened.unwrap_err().name(), "newer_format");
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        r#"{"format":2,"new":{}}"#
    );
}
