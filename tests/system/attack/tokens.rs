//! More tokens than anybody can follow.

use serde_json::Value;
use zenoh::Wait;

use super::scene::{Scene, quick};
use crate::registry::Registry;
use crate::site::{Site, light, settled_on};
use crate::support::{free_endpoint, success};

/// Tokens of the flood.
const TOKENS: usize = 1_100;
/// What the device logs of it.
const TOLD: &str = "more sources announce themselves than are asked";

#[test]
fn a_flood_of_sources_hides_no_registry() {
    let mut site = Site::new();
    let (listen, publisher) = (free_endpoint(), site.endpoint.clone());
    let first = site.pack(&light(1, ""));
    let second = site.pack(&quick(2, ""));
    let registry = Registry::start(&site, "shelf", &listen, Some(&publisher), false);
    site.publish(&second);
    registry.wait_for("stored a release");
    site.close();
    drop(registry);

    let device = site.device_at("a", &first, &listen, "");
    let mut scene = Scene::start(site, device, first);
    let mut peer = scene.peer();
    // Whatever these sources are asked for, they never answer.
    peer.answer("@objects/*/*", |query| std::mem::forget(query.clone()));
    for number in 0..TOKENS {
        peer.declare(&format!("@source/registry-{number:04}"));
    }
    scene.daemon.wait_for_log(TOLD);
    let _registry = Registry::start(&scene.site, "shelf", &listen, None, false);
    scene.daemon.feed_until(settled_on(2));
    scene.serves(2);
}

#[test]
fn a_flood_of_devices_hides_no_device() {
    let scene = Scene::new();
    let mut peer = scene.peer();
    for number in 0..TOKENS {
        peer.declare(&format!("fake-{number:04}/alive"));
    }
    // The one that answers does so with what is no status, and with more than a status may have.
    peer.answer("fake-0000/status", |query| {
        for size in [10, 2 << 20] {
            let _ = query
                .reply("hotshoe/lab/fake-0000/status", vec![b'x'; size])
                .wait();
        }
    });
    let endpoint = scene.endpoint();
    let told = success([
        "status",
        "--site",
        "lab",
        "--timeout",
        "3",
        "--connect",
        &endpoint,
        "--json",
    ]);
    let told: Vec<Value> = serde_json::from_str(&told).unwrap();
    let answered: Vec<&Value> = told.iter().filter(|it| it["answered"] == true).collect();
    assert_eq!(answered.len(), 1, "{answered:?}");
    assert_eq!(answered[0]["device"], "a");
    assert!(told.len() <= TOKENS + 1, "{}", told.len());
    scene.is_unharmed();
}
