//! Blobs that arrive in chunks: resumed, spoilt, shared, and answered for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::{collections::BTreeSet, fs, sync::Arc};

use common::{Deployer, deliver, index_of, noise, piece};
use hotshoe_store::{
    BlobStore, Catalogue, CatalogueError, HashedChunk, OpenError, PartialError, Store,
};
use hotshoe_trust::{Blob, ChunkIndex, Digest, Floor, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES};

/// An index that cuts `bytes` every 1000 bytes.
fn plain_index(bytes: &[u8]) -> ChunkIndex {
    ChunkIndex {
        blob: Blob::of(bytes),
        chunks: bytes.chunks(1000).map(Blob::of).collect(),
    }
}

fn open() -> (tempfile::TempDir, BlobStore) {
    let data = tempfile::tempdir().unwrap();
    let blobs = BlobStore::open(data.path()).unwrap();
    (data, blobs)
}

#[test]
fn a_blob_arrives_in_any_order_from_several_threads() {
    let (data, blobs) = open();
    let bytes = noise(1, 100_500);
    let index = plain_index(&bytes);
    let partial = Arc::new(blobs.partial(&index).unwrap());
    assert!(matches!(
        blobs.partial(&index),
        Err(PartialError::InUse(digest)) if digest == index.blob.digest
    ));
    assert!(matches!(
        partial.finish(),
        Err(PartialError::Incomplete { missing: 101, .. })
    ));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (partial, index, bytes) = (&partial, &index, &bytes);
            scope.spawn(move || {
                for number in (0..101).rev().filter(|number| number % 3 != thread) {
                    partial.put(number, &piece(index, bytes, number)).unwrap();
                }
            });
        }
    });
    assert_eq!(partial.finish().unwrap(), index.blob);
    assert_eq!(partial.finish().unwrap(), index.blob, "once more");
    assert_eq!(blobs.read(&index.blob).unwrap(), bytes);
    // A reader that still holds it reads on.
    assert_eq!(partial.read(100).unwrap().unwrap(), &bytes[100_000..]);
    assert!(
        !data
            .path()
            .join("parts")
            .join(index.blob.digest.hex())
            .exists()
    );
    drop(partial);
    blobs.partial(&index).unwrap();
}

#[test]
fn only_the_chunk_itself_is_taken() {
    let (_data, blobs) = open();
    let bytes = noise(2, 3000);
    let index = plain_index(&bytes);
    let partial = blobs.partial(&index).unwrap();
    for wrong in [&bytes[1000..2000], &bytes[..999], &bytes[..1001], &[]] {
        let refused = partial.put(0, wrong).unwrap_err();
        assert!(
            matches!(refused, PartialError::WrongChunk { index: 0, .. }),
            "{refused}"
        );
    }
    assert!(matches!(
        partial.put(3, &bytes[..1000]),
        Err(PartialError::NoSuchChunk { index: 3, .. })
    ));
    assert_eq!(partial.missing(), [0, 1, 2]);
    assert_eq!(partial.read(0).unwrap(), None);
}

#[test]
fn chunks_that_arrive_together_are_all_right_or_none_is_stored() {
    let (_data, blobs) = open();
    let bytes = noise(12, 40_500);
    let index = plain_index(&bytes);
    let partial = blobs.partial(&index).unwrap();
    let pieces: Vec<_> = (0..41)
        .map(|number| piece(&index, &bytes, number))
        .collect();
    let chunk = |number: usize| (number, HashedChunk::of(&pieces[number]));
    let swapped = (5, HashedChunk::of(&pieces[6]));
    assert!(partial.fits(6, &swapped.1) && !partial.fits(5, &swapped.1));
    let refused = partial.put_all(&[chunk(3), chunk(4), swapped]).unwrap_err();
    assert!(
        matches!(refused, PartialError::WrongChunk { index: 5, .. }),
        "{refused}"
    );
    assert_eq!(partial.missing().len(), 41);
    // Several runs, in any order, some chunks twice.
    for group in [&[9, 8, 2, 7, 30, 9, 31][..], &[40, 0, 1, 2, 3], &[]] {
        let chunks: Vec<_> = group.iter().map(|number| chunk(*number)).collect();
        partial.put_all(&chunks).unwrap();
        for number in group {
            assert_eq!(partial.read(*number).unwrap().unwrap(), pieces[*number]);
        }
    }
    let rest: Vec<_> = partial.missing().into_iter().map(chunk).collect();
    assert_eq!(rest.len(), 41 - 10);
    partial.put_all(&rest).unwrap();
    assert_eq!(partial.finish().unwrap(), index.blob);
    assert_eq!(blobs.read(&index.blob).unwrap(), bytes);
}

#[test]
fn what_has_arrived_outlives_a_restart_and_what_was_spoilt_is_missing_again() {
    let data = tempfile::tempdir().unwrap();
    let bytes = noise(3, 50_000);
    let index = plain_index(&bytes);
    {
        let blobs = BlobStore::open(data.path()).unwrap();
        let partial = blobs.partial(&index).unwrap();
        for number in [0, 1, 2, 7, 30, 49] {
            partial.put(number, &piece(&index, &bytes, number)).unwrap();
        }
    }
    let path = data.path().join("parts").join(index.blob.digest.hex());
    {
        let blobs = BlobStore::open(data.path()).unwrap();
        let missing = blobs.partial(&index).unwrap().missing();
        let had = BTreeSet::from([0, 1, 2, 7, 30, 49]);
        assert_eq!(
            missing,
            (0..50).filter(|n| !had.contains(n)).collect::<Vec<_>>()
        );
    }
    let mut spoilt = fs::read(&path).unwrap();
    spoilt[7_500] ^= 1;
    // Cut short, as a file that was only partly written back.
    fs::write(&path, &spoilt[..49_000]).unwrap();
    let blobs = BlobStore::open(data.path()).unwrap();
    let partial = blobs.partial(&index).unwrap();
    assert!(!partial.has(7) && !partial.has(49) && partial.has(30));
    for number in partial.missing() {
        partial.put(number, &piece(&index, &bytes, number)).unwrap();
    }
    assert_eq!(partial.have(), vec![true; 50]);
    partial.finish().unwrap();
    assert_eq!(blobs.read(&index.blob).unwrap(), bytes);
}

#[test]
fn an_index_that_lies_about_its_blob_costs_what_arrived() {
    let (data, blobs) = open();
    let bytes = noise(4, 3000);
    let index = ChunkIndex {
        blob: Blob {
            digest: Digest::of(b"another"),
            size: 3000,
        },
        ..plain_index(&bytes)
    };
    let partial = blobs.partial(&index).unwrap();
    for number in 0..3 {
        partial.put(number, &piece(&index, &bytes, number)).unwrap();
    }
    let refused = partial.finish().unwrap_err();
    assert!(
        matches!(refused, PartialError::WrongBlob { found, .. } if found == Digest::of(&bytes)),
        "{refused}"
    );
    assert!(common::names(&data.path().join("parts")).is_empty());
    assert!(!blobs.has(&index.blob));
}

#[test]
fn what_nobody_waits_for_any_more_is_dropped() {
    let (data, blobs) = open();
    let indexes: Vec<_> = (0..4).map(|seed| plain_index(&noise(seed, 2000))).collect();
    for index in &indexes {
        blobs.partial(index).unwrap();
    }
    assert_eq!(common::names(&data.path().join("parts")).len(), 4);
    let freed = blobs.retain(&BTreeSet::new()).unwrap();
    assert_eq!((freed.files, freed.bytes, freed.used), (4, 8000, 0));
}

#[test]
fn a_change_in_a_large_model_moves_only_what_it_touches() {
    let deployer = Deployer::new();
    let model = noise(5, 10 << 20);
    let mut changed = model.clone();
    let middle = 5 << 20;
    changed[middle..middle + (100 << 10)].copy_from_slice(&noise(6, 100 << 10));
    // One that grows by a byte at its beginning moves little too.
    let mut grown = vec![7];
    grown.extend(&model);
    let indexes: Vec<_> = [(1, &model), (2, &changed), (3, &grown)]
        .into_iter()
        .map(|(generation, model)| {
            let layout = deployer.signed_model(generation, model);
            let release = deployer.verify(&layout, &Floor::none());
            index_of(&layout, &release, &Blob::of(model))
        })
        .collect();
    let known: BTreeSet<_> = indexes[0].chunks.iter().collect();
    for index in &indexes[1..] {
        let shared: u64 = index
            .chunks
            .iter()
            .filter(|c| known.contains(c))
            .map(|c| c.size)
            .sum();
        let share = shared as f64 / index.blob.size as f64;
        assert!(share >= 0.95, "only {share} is shared");
    }
    let (last, others) = indexes[0].chunks.split_last().unwrap();
    assert!(
        others
            .iter()
            .all(|c| (MIN_CHUNK_BYTES..=MAX_CHUNK_BYTES).contains(&c.size))
    );
    assert!((1..=MAX_CHUNK_BYTES).contains(&last.size));
}

#[test]
fn a_blob_of_one_chunk_needs_no_index() {
    let deployer = Deployer::new();
    let limit = usize::try_from(MAX_CHUNK_BYTES).unwrap();
    for (generation, size, indexes) in [(1, limit, 0), (2, limit + 1, 1)] {
        let layout = deployer.signed_model(generation, &noise(1, size));
        let release = deployer.verify(&layout, &Floor::none());
        assert_eq!(release.chunks.len(), indexes);
    }
}

#[test]
fn a_catalogue_answers_for_objects_and_chunks_and_forgets_them() {
    let deployer = Deployer::new();
    let model = noise(8, 5 << 20);
    let layout = deployer.signed_model(1, &model);
    let release = deployer.verify(&layout, &Floor::none());
    let blob = Blob::of(&model);
    let index = index_of(&layout, &release, &blob);

    let publisher = Catalogue::new();
    let served = publisher.add_layout(&layout).unwrap();
    assert_eq!(served.release, release.digest());
    assert_eq!(served.bundles, [Digest::of(&release.package().bundles[0])]);
    let whole: BTreeSet<_> = release.blobs().map(|b| b.digest).collect();
    let whole = whole.into_iter().chain([served.release, served.bundles[0]]);
    let whole: Vec<_> = whole.filter(|digest| *digest != blob.digest).collect();
    for digest in whole
        .iter()
        .copied()
        .chain(index.chunks.iter().map(|c| c.digest))
    {
        assert!(publisher.has(digest));
        assert_eq!(Digest::of(&publisher.read(digest).unwrap()), digest);
    }
    let config = Digest::of(&release.package().config);
    assert_eq!(publisher.read(config).unwrap(), release.package().config);
    assert_eq!(publisher.read(blob.digest), None, "too large for an object");

    // A device answers for what has come, and when it is whole, for all of it.
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let device = Catalogue::new();
    assert!(matches!(
        device.add_release(&store.blobs(), served.release, &served.bundles),
        Err(CatalogueError::Read(_))
    ));
    let partial = Arc::new(store.blobs().partial(&index).unwrap());
    device.add_partial(&partial);
    let chunk = index.chunks[3].digest;
    assert!(!device.has(chunk) && device.read(chunk).is_none());
    partial.put(3, &piece(&index, &model, 3)).unwrap();
    assert!(device.has(chunk));
    assert_eq!(Digest::of(&device.read(chunk).unwrap()), chunk);
    device.remove_partial(blob.digest);
    assert!(!device.has(chunk));
    drop(partial);

    deliver(&store, &layout, &release).unwrap();
    device
        .add_release(&store.blobs(), served.release, &served.bundles)
        .unwrap();
    assert_eq!(Digest::of(&device.read(chunk).unwrap()), chunk);
    // A blob that goes is not found, and nothing else is held up.
    store.blobs().remove(blob.digest).unwrap();
    assert_eq!(device.read(chunk), None);
    assert!(device.read(served.release).is_some());
    device.remove_release(served.release);
    assert!(!device.has(served.release));
    // It does not keep the folder.
    drop(store);
    Store::open(data.path()).unwrap();
}

#[test]
fn objects_that_follow_each_other_are_read_at_once() {
    let deployer = Deployer::new();
    let model = noise(10, 3 << 20);
    let layout = deployer.signed_model(1, &model);
    let release = deployer.verify(&layout, &Floor::none());
    let blob = Blob::of(&model);
    let chunks = index_of(&layout, &release, &blob).chunks;
    let catalogue = Catalogue::new();
    let served = catalogue.add_layout(&layout).unwrap();
    let asked: Vec<_> = chunks.iter().map(|chunk| chunk.digest).collect();
    let runs = catalogue.runs(&asked, 1 << 20);
    assert!((3..=5).contains(&runs.len()), "{} runs", runs.len());
    let mut read = Vec::new();
    for run in &runs {
        let (bytes, objects) = catalogue.read_run(run).unwrap();
        assert!(bytes.len() <= 1 << 20);
        assert_eq!(
            run.digests().collect::<Vec<_>>(),
            objects
                .iter()
                .map(|(digest, _)| *digest)
                .collect::<Vec<_>>()
        );
        read.extend(bytes);
    }
    assert_eq!(read, model);
    // A gap, another file and an object that is not listed end a run.
    let unknown = Digest::of(b"unknown");
    let scattered = [
        asked[0],
        asked[2],
        served.release,
        asked[3],
        unknown,
        asked[4],
    ];
    let runs = catalogue.runs(&scattered, 1 << 20);
    assert_eq!(runs.len(), 6);
    for (run, digest) in runs.iter().zip(scattered) {
        match catalogue.read_run(run) {
            Some((bytes, _)) => assert_eq!(Digest::of(&bytes), digest),
            None => assert_eq!(digest, unknown),
        }
    }
    // One that checks what it reads says which blob is damaged, object by object.
    let (sender, reported) = std::sync::mpsc::sync_channel(9);
    let checked = Catalogue::checked(sender);
    checked.add_layout(&layout).unwrap();
    common::flip_a_bit(&layout.path().join("blobs/sha256").join(blob.digest.hex()));
    let unread: Vec<_> = checked
        .runs(&asked, 1 << 20)
        .into_iter()
        .filter(|run| checked.read_run(run).is_none())
        .collect();
    assert_eq!(unread.len(), 1, "the one with the middle of the model");
    let objects: Vec<_> = unread[0].digests().collect();
    let damaged = objects
        .iter()
        .filter(|digest| checked.read(**digest).is_none());
    assert_eq!(damaged.count(), 1);
    assert_eq!(reported.try_recv().unwrap(), Some(blob));
}

#[test]
fn what_two_releases_share_is_answered_for_until_both_are_gone() {
    let deployer = Deployer::new();
    let catalogue = Catalogue::new();
    let model = noise(9, 400 << 10);
    let first = catalogue
        .add_layout(&deployer.signed_model(1, &model))
        .unwrap();
    let second = catalogue
        .add_layout(&deployer.signed_model(2, &model))
        .unwrap();
    let digest = Digest::of(&model);
    catalogue.remove_release(first.release);
    assert!(catalogue.read(digest).is_some());
    catalogue.remove_release(second.release);
    assert!(!catalogue.has(digest));
}

#[test]
fn a_folder_of_blobs_has_one_owner_and_no_ledger() {
    let (data, blobs) = open();
    let handle = blobs.clone();
    drop(blobs);
    assert!(matches!(
        BlobStore::open(data.path()),
        Err(OpenError::InUse { .. })
    ));
    let kept = handle.put(b"kept").unwrap();
    let gone = handle.put(b"gone").unwrap();
    assert_eq!(handle.usage().unwrap(), 8);
    let freed = handle.retain(&BTreeSet::from([kept.digest])).unwrap();
    assert_eq!((freed.files, freed.bytes, freed.used), (1, 4, 4));
    assert!(handle.has(&kept) && !handle.has(&gone));
    handle.remove(gone.digest).unwrap();
    drop(handle);
    fs::write(data.path().join("blobs/sha256/incoming-3.part"), b"half").unwrap();
    let blobs = BlobStore::open(data.path()).unwrap();
    assert_eq!(blobs.usage().unwrap(), 4, "what was half written has gone");
    hotshoe_store::replace_file(&data.path().join("list.json"), b"[]").unwrap();
    assert_eq!(fs::read(data.path().join("list.json")).unwrap(), b"[]");
}
