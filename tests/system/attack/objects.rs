//! A source of objects that sends anything but what it was asked for. A good source beside it is all that a device needs.

use std::fs;
use std::path::Path;

use hotshoe_trust::{Blob, ChunkIndex, Digest};
use serde_json::Value;

use super::peer::{Ask, Objects};
use super::scene::{Scene, quick, wanted};
use crate::bad_release::{blob, edit};
use crate::site::{Packed, data_file, noise, read, settled_on};

/// Size of the data file that the releases carry, in bytes: some chunks.
const NOISE: usize = 1 << 20;
/// Most memory that an attack may cost the daemon, in KiB.
const MEMORY_KIB: u64 = 200 << 10;
/// Bytes that one zip bomb unpacks to: 64 GiB.
const BOMB: u64 = 64 << 30;

/// The recipe of a release with a data file in chunks.
fn chunked(scene: &Scene, generation: u64, folder: &str) -> String {
    let path = scene.site.workspace.path(&format!("{folder}-noise.bin"));
    fs::write(&path, noise(generation, NOISE)).unwrap();
    quick(generation, &data_file("noise", &path))
}

/// A device on generation 1, and a release of generation 2 with a data file in chunks.
fn scene() -> (Scene, Packed) {
    let scene = Scene::new();
    let second = scene.site.pack(&chunked(&scene, 2, "good"));
    (scene, second)
}

/// What the peer does when it is asked for chunks, and how it answers everything else well.
fn only_chunks(
    release: &Path,
    behave: impl Fn(Ask, &Objects) + Send + Sync + 'static,
) -> impl Fn(Ask, &Objects) + Send + Sync + 'static {
    let release = release.to_owned();
    move |ask, good| {
        let is_file = |digest: &Digest| blob(&release, &digest.to_string()).exists();
        if ask.digests.iter().all(is_file) {
            good.answer(&ask);
        } else {
            behave(ask, good);
        }
    }
}

/// A hostile peer is the only source of a good release, until it was asked and a good publisher comes: the device takes it.
fn survives(behave: impl Fn(Ask, &Objects) + Send + Sync + 'static) -> Scene {
    let (scene, second) = scene();
    survives_with(scene, &second, behave)
}

fn survives_with(
    mut scene: Scene,
    second: &Packed,
    behave: impl Fn(Ask, &Objects) + Send + Sync + 'static,
) -> Scene {
    let good = Objects::of(&[second]);
    let before = scene.daemon.peak_memory_kib();
    let mut peer = scene.peer();
    peer.source(move |ask| behave(ask, &good));
    peer.state("light", &wanted(second));
    scene.daemon.wait_until(|_| peer.asked() > 0);
    scene.is_unharmed();
    scene.site.publish(second);
    scene.daemon.feed_until(settled_on(2));
    scene.serves(2);
    let cost = scene.daemon.peak_memory_kib() - before;
    assert!(cost < MEMORY_KIB, "the daemon took {cost} KiB more");
    scene
}

/// The same, where the peer misbehaves on chunks alone.
fn survives_on_chunks(behave: impl Fn(Ask, &Objects) + Send + Sync + 'static) {
    let (scene, second) = scene();
    let behave = only_chunks(&second.folder, behave);
    survives_with(scene, &second, behave);
}

/// A zstd frame of a few bytes that unpacks to zeros: blocks of one repeated byte, 128 KiB each.
fn bomb() -> Vec<u8> {
    const BLOCK: u64 = 128 << 10;
    let blocks = BOMB / BLOCK;
    // Magic number, a header without sizes, a window of 128 KiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
    for block in 1..=blocks {
        let last = u64::from(block == blocks);
        let header = (BLOCK << 3 | 1 << 1 | last).to_le_bytes();
        frame.extend([header[0], header[1], header[2], 0]);
    }
    frame
}

#[test]
fn endless_data_in_one_reply() {
    survives(|ask, _| {
        for digest in &ask.digests {
            ask.reply(*digest, vec![7; 32 << 20]);
        }
    });
}

#[test]
fn endless_data_in_replies_without_end() {
    survives(|ask, good| {
        let good = good.clone();
        ask.for_ever(move |ask| {
            ask.digests.iter().all(|d| {
                let bytes = good.get(*d).unwrap_or_default();
                ask.reply(*d, bytes.repeat(2)) && ask.reply(*d, "rubbish")
            })
        });
    });
}

#[test]
fn slow_retrieval_of_a_package() {
    survives(|ask, _| {
        ask.reply(ask.digests[0], "x");
        ask.hang();
    });
}

#[test]
fn slow_retrieval_of_chunks() {
    survives_on_chunks(|ask, good| {
        // One chunk, and then nothing.
        let first = ask.digests[0];
        ask.reply(first, good.get(first).unwrap());
        ask.hang();
    });
}

#[test]
fn silence() {
    survives(|ask, _| ask.hang());
}

#[test]
fn rubbish() {
    survives(|ask, _| {
        for digest in &ask.digests {
            ask.reply(*digest, "rubbish");
            ask.reply(*digest, "");
            ask.reply_zstd(*digest, "no zstd");
            ask.reply(Digest::of(b"something else"), "something else");
        }
    });
}

#[test]
fn mix_and_match_of_blobs() {
    let (scene, second) = scene();
    // The blobs of another good release, under this one's names.
    let third = scene.site.pack(&chunked(&scene, 3, "other"));
    let other = Objects::of(&[&third]);
    let third = third.release;
    survives_with(scene, &second, move |ask, good| {
        for digest in &ask.digests {
            let swapped = other.get(*digest).or_else(|| other.get(third));
            let mixed = good.get(*digest).into_iter().chain(swapped).next_back();
            ask.reply(*digest, mixed.unwrap_or_default());
        }
    });
}

#[test]
fn a_chunk_that_matches_its_name_but_not_its_size() {
    survives_on_chunks(|ask, good| {
        for (number, digest) in ask.digests.iter().enumerate() {
            let mut bytes = good.get(*digest).unwrap_or_default();
            if number % 2 == 0 {
                bytes.pop();
            } else {
                bytes.push(0);
            }
            ask.reply(*digest, bytes);
        }
    });
}

#[test]
fn a_zip_bomb_for_a_chunk() {
    let bomb = bomb();
    survives_on_chunks(move |ask, _| {
        for digest in &ask.digests {
            ask.reply_zstd(*digest, bomb.clone());
        }
    });
}

#[test]
fn a_zip_bomb_for_a_manifest() {
    let bomb = bomb();
    survives(move |ask, _| {
        for digest in &ask.digests {
            ask.reply_zstd(*digest, bomb.clone());
        }
    });
}

#[test]
fn a_peer_that_answers_every_query_with_rubbish() {
    let (mut scene, second) = scene();
    let mut peer = scene.peer();
    peer.answer("**", |query| {
        let key = query.key_expr().clone();
        // Where the question has no one key, that is no key to answer under; a concrete one below it may be.
        let concrete = key.as_str().replace("**", "x").replace('*', "x");
        let _ = zenoh::Wait::wait(query.reply(concrete, "rubbish"));
        let _ = zenoh::Wait::wait(query.reply_err("rubbish"));
    });
    peer.appear();
    peer.put("@desired/light", b"rubbish");
    peer.put("@trust", b"rubbish");
    scene.says("malformed");
    scene.is_unharmed();
    scene.site.publish(&second);
    scene.daemon.feed_until(settled_on(2));
    scene.serves(2);
}

#[test]
fn a_peer_that_answers_under_the_name_of_another() {
    let (mut scene, second) = scene();
    let mut peer = scene.peer();
    // More than anybody asked for, so that the good source is not heard.
    peer.answer("@objects/*/*", |query| {
        let key = query.key_expr().as_str();
        let source = key.trim_end_matches("/*").to_owned();
        for digest in Ask::of(query) {
            for _ in 0..100 {
                let key = format!("{source}/{}", digest.hex());
                let _ = zenoh::Wait::wait(query.reply(key, "rubbish"));
            }
        }
    });
    scene.site.publish(&second);
    scene.daemon.feed_until(settled_on(2));
    scene.serves(2);
}

/// The pieces of some bytes that an index lists.
fn pieces<'a>(index: &ChunkIndex, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let place = |(offset, chunk): (u64, Blob)| {
        let start = usize::try_from(offset).unwrap();
        &bytes[start..start + usize::try_from(chunk.size).unwrap()]
    };
    index.offsets().map(place).collect()
}

/// A release whose index of chunks was changed before it was signed, and all that belongs to it, with the chunks as they should be.
fn with_index(scene: &Scene, change: impl FnOnce(&mut ChunkIndex)) -> (Packed, Objects) {
    let folder = scene.site.workspace.pack(&chunked(scene, 2, "lie"));
    let bytes = noise(2, NOISE);
    let whole = Blob::of(&bytes);
    let mut chunks = Vec::new();
    edit(&folder, |config| {
        let entry = &mut config["chunks"][whole.digest.to_string()];
        let at = blob(&folder, entry["digest"].as_str().unwrap());
        let mut index = ChunkIndex::parse(&fs::read(at).unwrap(), whole).unwrap();
        chunks = pieces(&index, &bytes);
        change(&mut index);
        let bytes = index.to_bytes();
        *entry = serde_json::to_value(Blob::of(&bytes)).unwrap();
        fs::write(blob(&folder, &Digest::of(&bytes).to_string()), bytes).unwrap();
    });
    // The manifest lists the blobs once more.
    relist(&folder);
    scene.site.workspace.sign(&folder, "alice");
    let packed = read(folder);
    let mut objects = Objects::files(&packed);
    for chunk in chunks {
        objects.put(chunk);
    }
    (packed, objects)
}

/// Makes the manifest's list of layers hold the indexes that the configuration names.
fn relist(folder: &Path) {
    let json = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let index_path = folder.join("index.json");
    let mut index = json(&index_path);
    let mut manifest = json(&blob(
        folder,
        index["manifests"][0]["digest"].as_str().unwrap(),
    ));
    let config = json(&blob(
        folder,
        manifest["config"]["digest"].as_str().unwrap(),
    ));
    let named: Vec<Value> = config["chunks"]
        .as_object()
        .unwrap()
        .values()
        .cloned()
        .collect();
    let layers = manifest["layers"].as_array_mut().unwrap();
    let is_index = |layer: &&mut Value| layer["mediaType"].as_str().unwrap().contains("chunks");
    for (layer, name) in layers.iter_mut().filter(is_index).zip(named) {
        layer["digest"] = name["digest"].clone();
        layer["size"] = name["size"].clone();
    }
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = Digest::of(&bytes).to_string();
    fs::write(blob(folder, &digest), &bytes).unwrap();
    index["manifests"][0]["digest"] = digest.into();
    index["manifests"][0]["size"] = bytes.len().into();
    fs::write(&index_path, serde_json::to_vec(&index).unwrap()).unwrap();
}

#[test]
fn an_index_whose_sizes_do_not_add_up() {
    let scene = Scene::new();
    let (packed, objects) = with_index(&scene, |index| index.chunks[0].size -= 1);
    let mut peer = scene.peer();
    peer.serve(objects);
    peer.state("light", &wanted(&packed));
    scene.says("bad_index");
    scene.is_unharmed();
}

#[test]
fn an_index_of_other_content() {
    let scene = Scene::new();
    let other = noise(7, NOISE);
    let mut chunks = Vec::new();
    let (packed, mut objects) = with_index(&scene, |index| {
        chunks = pieces(index, &other);
        index.chunks = chunks.iter().map(|chunk| Blob::of(chunk)).collect();
    });
    for chunk in chunks {
        objects.put(chunk);
    }
    let mut peer = scene.peer();
    peer.serve(objects);
    peer.state("light", &wanted(&packed));
    scene.says("wrong_blob");
    scene.is_unharmed();
}

#[test]
fn an_index_that_lies_about_the_size_of_a_chunk() {
    let mut scene = Scene::new();
    // The sizes add up, and each chunk has its name; but two of them are a byte longer and shorter than what has that name.
    let (packed, objects) = with_index(&scene, |index| {
        index.chunks[0].size -= 1;
        index.chunks[1].size += 1;
    });
    let mut peer = scene.peer();
    peer.serve(objects);
    peer.state("light", &wanted(&packed));
    scene.daemon.wait_until(|_| peer.asked() > 4);
    scene.is_unharmed();
    // It never becomes whole, and a release that does takes its place.
    let third = scene.site.pack(&chunked(&scene, 3, "good"));
    scene.site.publish(&third);
    scene.daemon.feed_until(settled_on(3));
    scene.serves(3);
}
