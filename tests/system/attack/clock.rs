//! A clock that was set back. The daemon has its time from the system, so it is the device's memory of a later time that is set.

use std::fs;

use hotshoe_config::Config;
use hotshoe_trust::Time;
use serde_json::{Value, json};

use super::scene::{Scene, hours};
use crate::site::{Site, light};

#[test]
fn a_clock_set_back_takes_nothing_new() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("a", &first, "");
    let data = Config::load(&device.config).unwrap().data;
    let path = data.join("ledger.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    // It has taken in a release that was issued tomorrow, as its clock says now.
    record["ledger"]["clock-floor"] = json!((Time::now() + hours(24)).to_string());
    fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
    let mut scene = Scene::start(site, device, first);
    let second = scene.site.pack(&light(2, ""));
    scene.site.publish(&second);
    scene.says("clock_backwards");
    scene.is_unharmed();
}
