//! Requests while the device rests.

use std::fs;
use std::path::Path;

use hotshoe_tests::until;
use tempfile::TempDir;

use super::free_address;
use super::swapped::infer;
use crate::site::{Site, light};
use crate::support::environment;

/// Sets the temperature of the only thermal zone of a tree of sensors.
fn heat(tree: &Path, celsius: u32) {
    let zone = tree.join("sys/class/thermal/thermal_zone0");
    fs::create_dir_all(&zone).unwrap();
    let new = tree.join("new");
    fs::write(&new, format!("{}\n", celsius * 1_000)).unwrap();
    fs::rename(new, zone.join("temp")).unwrap();
}

#[test]
fn a_model_does_not_run_while_the_device_rests() {
    let site = Site::new();
    let model = environment().model("classify-angle");
    let models = format!("[models.angle]\nfile = \"{}\"\n", model.display());
    let release = site.pack(&light(1, &models));
    let tree = TempDir::new().unwrap();
    heat(tree.path(), 90);
    let url = free_address();
    let more = format!(
        "[oip]\nlisten = \"{url}\"\n[governor]\nsensors = \"{}\"\nperiod-ms = 50\nleast-time-ms = 0\ncalm-ms = 0",
        tree.path().display()
    );
    let daemon = site.device("cam", &release, &more).run();
    daemon.wait_until(|state| state["governor"]["plan"]["rest"].is_object());
    let (status, answer) = infer(&url, "");
    assert_eq!(status, "503", "{answer}");
    let said = answer.to_string();
    assert!(
        said.contains("the device rests: the hottest thermal zone has 90.0 C"),
        "{said}"
    );
    heat(tree.path(), 40);
    until("the device goes on", || infer(&url, "").0 == "200");
}
