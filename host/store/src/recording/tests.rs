#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

fn head() -> RecordingHead {
    let release = RecordedRelease {
        name: "labels".to_owned(),
        generation: 7,
        digest: Digest::of(b"manifest"),
    };
    RecordingHead::new(
        "lab".to_owned(),
        "cam".to_owned(),
        release,
        RecordStage::Pre,
    )
}

fn entry(id: &str) -> RecordedEntry {
    RecordedEntry {
        id: id.to_owned(),
        content_type: "image/png".to_owned(),
        source: "door".to_owned(),
        timestamp: 5,
        actions: None,
        files: BTreeMap::new(),
    }
}

fn recorded(folder: &Path) -> Recording {
    let mut writer = RecordingWriter::create(folder, head()).unwrap();
    let input = || RecordedPart::Input("detect".to_owned());
    let parts = [
        (RecordedPart::Sample, b"png".to_vec()),
        (RecordedPart::Tensors, b"npz".to_vec()),
        (input(), b"one".to_vec()),
        (input(), b"two".to_vec()),
    ];
    writer.add(entry("a"), "png", &parts).unwrap();
    writer.add(entry("b"), "png", &parts[..1]).unwrap();
    assert_eq!(writer.len(), 2);
    Recording::open(folder).unwrap()
}

#[test]
fn what_is_recorded_is_read_again() {
    let folder = TempDir::new().unwrap();
    let found = recorded(folder.path());
    assert_eq!(found.head, head());
    let files: Vec<&String> = found.entries[0].files.keys().collect();
    assert_eq!(
        files,
        [
            "inputs/detect/0000-2.npz",
            "inputs/detect/0000.npz",
            "samples/0000.png",
            "tensors/0000.npz"
        ]
    );
    let read = |part| found.read(&found.entries[0], &part).unwrap();
    assert_eq!(
        read(RecordedPart::Tensors).as_deref(),
        Some(b"npz".as_slice())
    );
    assert_eq!(read(RecordedPart::Insight), None);
    found.check().unwrap();
    let again = RecordingWriter::create(folder.path(), head()).unwrap_err();
    assert_eq!(again.name(), "recording_exists");
}

#[test]
fn the_file_lags_by_a_part_of_the_entries_until_the_end() {
    let folder = TempDir::new().unwrap();
    let entries = || Recording::open(folder.path()).map_or(0, |it| it.entries.len());
    let mut writer = RecordingWriter::create(folder.path(), head()).unwrap();
    writer.finish().unwrap();
    assert!(!Recording::is_at(folder.path()));
    for number in 1..=100 {
        writer.add(entry("a"), "png", &[]).unwrap();
        let lag = number - entries();
        assert!(lag * 16 < number && (number > 16 || lag == 0), "{number}");
    }
    assert!(entries() < 100);
    writer.finish().unwrap();
    assert_eq!(entries(), 100);
}

#[test]
fn a_link_that_leads_out_of_a_recording_is_not_read() {
    let folder = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    let found = recorded(folder.path());
    for file in ["samples/0000.png", RECORDING_FILE] {
        let path = folder.path().join(file);
        let moved = outside.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        symlink(&moved, &path).unwrap();
        let read = found
            .check()
            .and_then(|()| Recording::open(folder.path()).map(drop));
        assert_eq!(read.unwrap_err().name(), "link_leads_out", "{file}");
        fs::remove_file(&path).unwrap();
        fs::rename(&moved, &path).unwrap();
    }
    Recording::open(folder.path()).unwrap().check().unwrap();
}

#[test]
fn damage_and_paths_that_lead_away_are_found() {
    let folder = TempDir::new().unwrap();
    let found = recorded(folder.path());
    fs::write(folder.path().join("samples/0001.png"), "gnp").unwrap();
    assert_eq!(found.check().unwrap_err().name(), "damaged_recording");
    fs::remove_file(folder.path().join("samples/0001.png")).unwrap();
    assert_eq!(found.check().unwrap_err().name(), "io");
    let path = folder.path().join(RECORDING_FILE);
    let text = fs::read_to_string(&path).unwrap();
    for wrong in [
        "../../secret",
        "/etc/passwd",
        "recording.json",
        "samples/../../x",
    ] {
        fs::write(&path, text.replacen("samples/0000.png", wrong, 1)).unwrap();
        let refused = Recording::open(folder.path()).unwrap_err();
        assert_eq!(refused.name(), "invalid_recording", "{wrong}");
    }
    for wrong in [
        text.replace("\"format\": 1", "\"format\": 0"),
        text.replacen('{', "{\"format\":1,", 1),
        String::new(),
    ] {
        fs::write(&path, wrong).unwrap();
        assert_eq!(
            Recording::open(folder.path()).unwrap_err().name(),
            "invalid_recording"
        );
    }
    for (found, newer) in [
        (2, text.replace("\"format\": 1", "\"format\": 2")),
        (
            99,
            text.replace("\"format\": 1", "\"format\": 99, \"new\": []"),
        ),
    ] {
        fs::write(&path, &newer).unwrap();
        let error = Recording::open(folder.path()).unwrap_err();
        assert_eq!(error.name(), "newer_format");
        assert!(matches!(&error, RecordingError::Newer(error) if error.found == found));
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    }
    let none = Recording::open(&folder.path().join("none")).unwrap_err();
    assert_eq!(none.name(), "no_recording");
}
