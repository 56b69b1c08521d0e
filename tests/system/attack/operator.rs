//! What only the operator may do, and only on the device itself.

use hotshoe_trust::{DeviceSelector, Order};
use serde_json::{Value, json};

use super::peer::Objects;
use super::scene::{Scene, quick, wanted};
use crate::site::{envelope, settled_on};
use crate::support::{failure, success};

#[test]
fn a_floor_is_lowered_locally_alone_and_everybody_hears_of_it() {
    let mut scene = Scene::new();
    let second = scene.site.pack(&quick(2, ""));
    scene.site.publish(&second);
    scene.daemon.feed_until(settled_on(2));

    // A deployer cannot go back below it,
    let back = Order::Rollback {
        release: second.release,
        name: "light".to_owned(),
    };
    let back = envelope(back, DeviceSelector::default());
    assert_eq!(scene.refusal_of(&back), "below_floor");
    // nor lower it: there is no such order.
    let mut lower: Value = serde_json::from_slice(&back).unwrap();
    let statement = lower["statement"].as_str().unwrap();
    let mut statement: Value = serde_json::from_str(statement).unwrap();
    statement["order"] = json!({"trust-floor": {"name": "light", "generation": 1}});
    lower["statement"] = statement.to_string().into();
    let refused = scene.refusal_of(lower.to_string().as_bytes());
    assert!(
        ["malformed", "unknown_key"].contains(&refused.as_str()),
        "{refused}"
    );
    let mut peer = scene.peer();
    peer.serve(Objects::of(&[&scene.first]));
    peer.state("light", &wanted(&scene.first));
    scene.says("below_floor");
    scene.serves(2);
    assert_eq!(scene.ledger()["floor"]["light"]["generation"], 2);

    let config = scene.device.config.display().to_string();
    let floor = ["trust", "floor", "light", "1", "--config", &config, "--yes"];
    success(floor);
    assert_eq!(scene.ledger()["floor"]["light"]["generation"], 1);
    scene.daemon.wait_for_log("THE FLOOR WAS LOWERED");
    let history = success(["history", "--config", &config, "--json"]);
    assert!(history.contains("floor_lowered"), "{history}");
    // It can be lowered only.
    let again = failure(floor);
    assert!(again.contains("not_lower"), "{again}");
    // The older release is taken again, when somebody wants it now.
    scene.site.publish(&scene.first.clone());
    scene.daemon.feed_until(settled_on(1));
}
