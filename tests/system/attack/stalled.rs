//! A peer that asks for a lot, and then reads nothing: only it pays for what it asked for.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc::channel;
use std::time::Instant;

use hotshoe_store::Layout;
use hotshoe_trust::{Blob, ChunkIndex, Digest};
use serde_json::Value;

use super::peer::HostilePeer;
use super::scene::{GATE, Scene};
use crate::bad_release::blob;
use crate::proxy::Cable;
use crate::site::{Site, data_file, noise, recipe};
use crate::support::DEADLINE;

/// Requests of the peer that stops reading, each under a name of its own.
const REQUESTS: usize = 60;
/// Digests of one request: the most that a source takes.
const EACH: usize = 64;
/// Bytes that the cable carries before it is held.
const FIRST: u64 = 256 << 10;
/// What Zenoh logs when it gives a peer up that does not read.
const GIVEN_UP: &str = "Unable to push non droppable";

/// A device that serves a release with 8 MiB in chunks, and their digests.
fn scene() -> (Scene, Vec<Digest>) {
    let site = Site::new();
    let path = site.workspace.path("noise.bin");
    let bytes = noise(1, 8 << 20);
    fs::write(&path, &bytes).unwrap();
    let first = site.pack(&recipe(1, GATE, &[], &data_file("noise", &path)));
    let package = Layout::open(&first.folder).unwrap().package().unwrap();
    let config: Value = serde_json::from_slice(&package.config).unwrap();
    let whole = Blob::of(&bytes);
    let index = config["chunks"][whole.digest.to_string()]["digest"].as_str();
    let index = fs::read(blob(&first.folder, index.unwrap())).unwrap();
    let index = ChunkIndex::parse(&index, whole).unwrap();
    let chunks: Vec<Digest> = index.chunks.iter().map(|chunk| chunk.digest).collect();
    assert!(chunks.len() > EACH, "{} chunks", chunks.len());
    let device = site.device("a", &first, "");
    (Scene::start(site, device, first), chunks)
}

/// Asks for objects until all have come; a source that is busy is asked again.
fn fetch(peer: &HostilePeer, name: &str, digests: &[Digest]) {
    let mut wanted: BTreeSet<Digest> = digests.iter().copied().collect();
    let started = Instant::now();
    while !wanted.is_empty() {
        assert!(
            started.elapsed() < DEADLINE,
            "{} objects are missing",
            wanted.len()
        );
        let (sender, heard) = channel();
        let left: Vec<Digest> = wanted.iter().copied().take(EACH).collect();
        peer.ask("a", name, &left, move |digest| {
            let _ = sender.send(digest);
        });
        while let Some(digest) = heard.recv_timeout(DEADLINE).expect("an answer or its end") {
            wanted.remove(&digest);
        }
    }
}

#[test]
fn a_peer_that_stops_reading_cuts_off_nobody() {
    let (scene, chunks) = scene();
    let port = scene
        .endpoint()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let cable = Cable::to(port);
    let stalled = HostilePeer::at(&[cable.endpoint()]);
    let honest = scene.peer();
    fetch(&honest, "before", &chunks[..8]);
    let carried = cable.carried();
    for number in 0..REQUESTS {
        stalled.ask("a", &format!("name-{number}"), &chunks[..EACH], |_| ());
    }
    // It has begun to read, and stops.
    scene
        .daemon
        .wait_until(|_| cable.carried() > carried + FIRST);
    cable.hold();
    // It also takes all that leaves the device, and asks for the status.
    let _outputs = stalled.listen("a/output/**");
    for number in 0..10 {
        fetch(&honest, &format!("honest-{number}"), &chunks);
        scene.serves(1);
    }
    assert!(cable.is_connected());
    let log = scene.daemon.log();
    assert!(!log.contains(GIVEN_UP), "the device waited: {log}");
    scene.is_unharmed();
}
