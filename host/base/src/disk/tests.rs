#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn a_power_cut_takes_half_of_what_came_after_the_last_sync() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let disk = Disk::new(Faults::after(4));
    let mut file = disk.create(&path).unwrap();
    disk.write(&mut file, &[1; 100]).unwrap();
    disk.sync_data(&file).unwrap();
    disk.write(&mut file, &[2; 100]).unwrap();
    assert_eq!(length(&path), 200);
    disk.sync_data(&file).unwrap_err();
    assert_eq!(length(&path), 150);

    // A file that was there before is durable; one that is emptied is not.
    let disk = Disk::new(Faults::after(1));
    let mut file = disk.open_end(&path).unwrap();
    disk.write(&mut file, &[3; 10]).unwrap();
    disk.sync_data(&file).unwrap_err();
    assert_eq!(length(&path), 155);
    let disk = Disk::new(Faults::after(2));
    let mut file = disk.create(&path).unwrap();
    disk.write(&mut file, &[4; 10]).unwrap();
    disk.sync(&file).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), [4; 5]);
}

#[test]
fn pieces_are_written_one_after_the_other_and_half_of_them_at_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pieces");
    let disk = Disk::new(Faults::broken_after(4));
    let file = disk.open(&path).unwrap();
    // More than one call takes.
    let many: Vec<Vec<u8>> = (0..3_000_u32).map(|n| n.to_le_bytes().to_vec()).collect();
    let pieces: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    disk.write_all_at(&file, &pieces, 5).unwrap();
    disk.write_all_at(&file, &[&[], b"a", &[], b"bc"], 1)
        .unwrap();
    disk.write_all_at(&file, &[], 0).unwrap();
    let expected = [&b"\0abc\0"[..], &many.concat()].concat();
    assert_eq!(fs::read(&path).unwrap(), expected);
    disk.write_all_at(&file, &[b"12", b"34"], 0).unwrap_err();
    assert!(fs::read(&path).unwrap().starts_with(b"12bc\0"));
}

#[test]
fn a_read_only_disk_takes_nothing_a_failing_one_half_and_both_take_all_again_when_that_ends() {
    let folder = tempfile::tempdir().unwrap();
    for (name, faults, kind, left) in [
        (
            "read-only",
            Faults::read_only_after(2),
            io::ErrorKind::ReadOnlyFilesystem,
            4,
        ),
        ("broken", Faults::broken_after(2), io::ErrorKind::Other, 6),
    ] {
        let path = folder.path().join(name);
        let disk = Disk::new(faults.clone());
        let mut file = disk.create(&path).unwrap();
        disk.write(&mut file, &[1; 4]).unwrap();
        let refused = disk.write(&mut file, &[2; 4]).unwrap_err();
        assert_eq!((refused.kind(), length(&path)), (kind, left));
        for refused in [
            disk.truncate(&file, 4),
            disk.sync_data(&file),
            disk.remove(&path),
            disk.replace(&path, b"other"),
        ] {
            assert_eq!(refused.unwrap_err().kind(), kind);
        }
        faults.end();
        disk.truncate(&file, 4).unwrap();
        let mut file = disk.open_end(&path).unwrap();
        disk.write(&mut file, &[3; 2]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [1, 1, 1, 1, 3, 3]);
    }
}

#[test]
fn a_full_disk_can_be_truncated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let disk = Disk::new(Faults::full_after(2));
    let mut file = disk.create(&path).unwrap();
    disk.write(&mut file, &[1; 4]).unwrap();
    let refused = disk.write(&mut file, &[2; 4]).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    disk.truncate(&file, 4).unwrap();
    disk.sync_data(&file).unwrap();
    assert_eq!(length(&path), 4);
}

#[test]
fn a_file_is_replaced_whole_or_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.json");
    let disk = Disk::new(Faults::never());
    disk.replace(&path, b"old").unwrap();
    let refused = disk.replace_with(&path, |file| {
        disk.write(file, b"new")?;
        Err::<(), _>(io::Error::other("the source ended"))
    });
    assert_eq!(refused.unwrap_err().to_string(), "the source ended");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(files(folder.path()).unwrap(), std::slice::from_ref(&path));
    let written = disk.replace_with(&path, |file| {
        disk.write(file, b"n")?;
        disk.write(file, b"ew")?;
        Ok(3)
    });
    assert_eq!(written.unwrap(), 3);
    assert_eq!(fs::read(&path).unwrap(), b"new");
}
