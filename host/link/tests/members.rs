//! A device knows whether another member of its site is reachable.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sessions;

use hotshoe_config::{ZenohConfig, ZenohMode};
use hotshoe_egress::Classifier;
use hotshoe_link::{Link, Serving, Site};
use hotshoe_store::Catalogue;
use hotshoe_tests::until;

use sessions::{connected, listening};

fn device(config: &ZenohConfig, site: &str, name: &str) -> (Link, Serving) {
    let link = Link::open(config, site, name).unwrap();
    let serving = link
        .serve(&[], |_, _| {}, || Classifier::host(&()))
        .unwrap();
    (link, serving)
}

#[test]
fn a_device_that_shares_is_a_member_until_its_session_ends() {
    let (camera, serving) = device(&listening(), "lab", "camera");
    // Its own token does not count.
    let own = camera.share(Catalogue::new()).unwrap();
    assert_eq!(camera.site_reachable(), Some(false));
    let to_camera = connected(camera.status().locators);
    let (stranger, _serves) = device(&to_camera, "other", "gate");
    let strangers = stranger.share(Catalogue::new()).unwrap();
    let (gate, _alive) = device(&to_camera, "lab", "gate");
    let shared = gate.share(Catalogue::new()).unwrap();
    until("the gate is there", || {
        camera.site_reachable() == Some(true)
    });
    until("the camera is there", || {
        gate.site_reachable() == Some(true)
    });
    drop(shared);
    until("the gate is gone", || {
        camera.site_reachable() == Some(false)
    });
    drop((own, strangers));
    drop(serving);
    assert_eq!(camera.site_reachable(), None, "nothing is followed");
    for link in [stranger, gate, camera] {
        link.close();
    }
}

#[test]
fn a_registry_is_a_member() {
    let router = ZenohConfig {
        mode: ZenohMode::Router,
        ..listening()
    };
    let site = Site::open(&router, "lab").unwrap();
    let sharing = site.share("registry", Catalogue::new()).unwrap();
    let (camera, _serving) = device(&connected(site.status().locators), "lab", "camera");
    until("the registry is there", || {
        camera.site_reachable() == Some(true)
    });
    drop(sharing);
    site.close();
    until("the registry is gone", || {
        camera.site_reachable() == Some(false)
    });
    camera.close();
}
