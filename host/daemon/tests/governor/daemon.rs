//! A daemon without a release on a device that is too hot, and on one that cools down.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use hotshoe_config::Config;
use hotshoe_daemon::ending::Ending;
use hotshoe_daemon::{CallError, Daemon};
use hotshoe_link::Incoming;
use hotshoe_protocol::event::{Kind, KnownKind};
use hotshoe_protocol::status::{GovernorStatus, Status};
use hotshoe_tests::{DEADLINE, Signer, until};
use serde_json::json;
use tempfile::TempDir;

/// A device with a tree of sensors, a fan and an inbox.
struct Device {
    folder: TempDir,
}

impl Device {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("trust.toml"), Signer::new("test").trust).unwrap();
        let device = Self { folder };
        for made in ["tree/sys/class/thermal/thermal_zone0", "tree/proc", "inbox"] {
            fs::create_dir_all(device.path(made)).unwrap();
        }
        device.write("tree/sys/class/thermal/thermal_zone0/type", "cpu-thermal\n");
        device.write("fan", "");
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file at once, as the kernel does.
    fn write(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    fn heat(&self, celsius: u32) {
        let text = format!("{}\n", celsius * 1_000);
        self.write("tree/sys/class/thermal/thermal_zone0/temp", &text);
    }

    fn start(&self) -> Daemon {
        let text = "site = \"site\"\ndevice = \"device\"\n[zenoh]\nlisten = [\"tcp/127.0.0.1:0\"]\n\
            [watch]\nfolder = \"inbox\"\nafter = \"move\"\n\
            [governor]\nsensors = \"tree\"\nperiod-ms = 20\nleast-time-ms = 0\ncalm-ms = 40\n\
            [governor.outputs.fan]\nfile = \"fan\"\n";
        Daemon::start(Config::parse(text, self.folder.path()).unwrap()).unwrap()
    }
}

fn governor(daemon: &Daemon) -> GovernorStatus {
    daemon.status().governor.unwrap_or_default()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn kinds(status: &Status) -> Vec<Kind> {
    status.events.iter().map(|it| it.kind.clone()).collect()
}

fn call(daemon: &Daemon) -> CallError {
    let incoming = Incoming {
        source: "test".to_owned(),
        id: None,
        content_type: None,
        timestamp_us: None,
        payload: Cow::Borrowed(b"x"),
    };
    let deadline = Instant::now() + DEADLINE;
    daemon.local_client().call(incoming, deadline).unwrap_err()
}

#[test]
fn a_device_that_is_too_hot_rests_with_its_reason_and_goes_on_when_it_has_cooled_down() {
    let device = Device::new();
    device.heat(90);
    let daemon = device.start();
    until("the device rests", || {
        governor(&daemon).plan.contains_key("rest")
    });
    let status = governor(&daemon);
    assert_eq!((status.by.as_str(), status.component), ("default", None));
    let rest = &status.plan["rest"];
    assert_eq!(rest.value, json!("stop"));
    assert_eq!(rest.reason, "the hottest thermal zone has 90.0 C");
    assert_eq!(status.plan["alert.too-hot"].value, json!("critical"));
    assert_eq!(status.sensors.hottest_celsius, Some(90.0));
    assert_eq!(status.sensors.charge_ratio, None);
    until("the fan is at full speed", || {
        text(&device.path("fan")) == "255"
    });
    let CallError::Ended {
        ending,
        fault,
        message,
        ..
    } = call(&daemon)
    else {
        panic!("the sample did not end");
    };
    assert_eq!((ending, fault.as_str()), (Ending::Rest, "skipped"));
    assert_eq!(
        message,
        "the device rests: the hottest thermal zone has 90.0 C"
    );
    // A model that a client names does not run either.
    let refused = daemon.local_client().check_rest().unwrap_err();
    assert!(matches!(
        refused,
        CallError::Ended { ending: Ending::Rest, message: said, .. } if said == message
    ));
    let counters = daemon.status().counters;
    assert!(counters.add_up());
    assert_eq!(counters.skipped_by["rest"], 1);
    device.heat(40);
    until("the plan is the full one", || {
        governor(&daemon).plan.is_empty()
    });
    // Without a release, a sample that is not left out is dropped.
    assert!(matches!(
        call(&daemon),
        CallError::Ended { ending: Ending::Drop, fault, .. } if fault == "no_release"
    ));
    assert!(daemon.local_client().check_rest().is_ok());
    until("the fan is off", || text(&device.path("fan")) == "0");
    let kinds = kinds(&daemon.status());
    for kind in [KnownKind::ModeChanged, KnownKind::Alert] {
        assert!(kinds.contains(&Kind::Known(kind)), "{kinds:?}");
    }
    assert!(daemon.drain(DEADLINE).counters.add_up());
}

#[test]
fn outputs_are_off_when_the_daemon_has_ended() {
    let device = Device::new();
    device.heat(60);
    let daemon = device.start();
    until("the fan is at half speed", || {
        text(&device.path("fan")) == "128"
    });
    daemon.drain(DEADLINE);
    assert_eq!(text(&device.path("fan")), "0");
}

#[test]
fn without_it_nothing_is_read_and_nothing_is_in_the_status() {
    let device = Device::new();
    device.heat(90);
    let text = "site = \"site\"\ndevice = \"device\"\n[zenoh]\nlisten = [\"tcp/127.0.0.1:0\"]\n[governor]\nenabled = false\nsensors = \"tree\"\n";
    let config = Config::parse(text, device.folder.path()).unwrap();
    let daemon = Daemon::start(config).unwrap();
    assert_eq!(daemon.status().governor, None);
    assert!(daemon.parts().list().iter().all(|it| it.name != "governor"));
    daemon.drain(DEADLINE);
}
