//! Registries: they keep a site's releases, and connect the site where they are routers.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use super::site::{Packed, Site, data_file, light, noise, settled_on};
use super::support::{DEADLINE, Daemon, free_endpoint, hotshoe, success};

/// A running registry, killed when it is dropped.
pub(crate) struct Registry {
    child: Child,
    log: PathBuf,
}

impl Registry {
    pub(crate) fn start(
        site: &Site,
        name: &str,
        listen: &str,
        connect: Option<&str>,
        router: bool,
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotshoe"));
        command
            .args([
                "registry", "--site", "lab", "--name", name, "--listen", listen,
            ])
            .arg("--data")
            .arg(site.workspace.path(&format!("{name}-registry")))
            .args(["--trust", &site.workspace.trust_file()])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let log = site.workspace.path(&format!("{name}.log"));
        command.stderr(fs::File::create(&log).unwrap());
        if let Some(connect) = connect {
            command.args(["--connect", connect]);
        }
        if router {
            command.arg("--router");
        }
        Self {
            child: command.spawn().expect("a registry"),
            log,
        }
    }

    /// Waits until its log holds this text.
    pub(crate) fn wait_for(&self, text: &str) {
        let started = Instant::now();
        loop {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            if log.contains(text) {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "no `{text}` in {log}");
            thread::yield_now();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_registry_serves_when_the_publisher_has_gone_and_after_a_restart() {
    let mut site = Site::new();
    let listen = free_endpoint();
    let endpoint = site.endpoint.clone();
    let registry = Registry::start(&site, "shelf", &listen, Some(&endpoint), false);
    let first = site.pack(&light(1, ""));
    let second = site.pack(&light(2, ""));
    // A device of the same site beside it says when the registry has the release: it gets it from no other source.
    let watcher = site.device_at("watcher", &first, &listen, "").run();
    site.publish(&second);
    watcher.feed_until(settled_on(2));
    site.close();
    drop(registry);
    let _registry = Registry::start(&site, "shelf", &listen, None, false);
    let late = site.device_at("late", &first, &listen, "").run();
    late.feed_until(settled_on(2));
}

#[test]
fn of_two_registries_one_is_enough() {
    let mut site = Site::new();
    let publisher = site.endpoint.clone();
    let (east, west) = (free_endpoint(), free_endpoint());
    let both = ["east", "west"].map(|name| {
        let listen = if name == "east" { &east } else { &west };
        Registry::start(&site, name, listen, Some(&publisher), false)
    });
    let first = site.pack(&light(1, ""));
    let second = site.pack(&light(2, ""));
    site.publish(&second);
    // Who hears one registry alone says when it has the release.
    for (name, endpoint) in [("by-east", &east), ("by-west", &west)] {
        let watcher = site.device_at(name, &first, endpoint, "").run();
        watcher.feed_until(settled_on(2));
    }
    site.close();
    let [east_registry, _west_registry] = both;
    drop(east_registry);
    let device = site.device_at("cam", &first, &east, "");
    let text = fs::read_to_string(&device.config).unwrap();
    let text = text.replace(&format!("\"{east}\""), &format!("\"{east}\", \"{west}\""));
    fs::write(&device.config, text).unwrap();
    device.run().feed_until(settled_on(2));
}

#[test]
fn devices_that_are_routers_too_see_each_other_behind_one() {
    let mut site = Site::new();
    site.close();
    let listen = free_endpoint();
    let first = site.pack(&light(1, ""));
    // They start without it.
    let devices: Vec<Daemon> = ["a", "b", "c"]
        .map(|name| {
            let more = "mode = \"router\"\n[deploy]\nshare = true\n";
            site.device_at(name, &first, &listen, more).run()
        })
        .into();
    let _hub = Registry::start(&site, "hub", &listen, None, true);
    let size = 8 << 20;
    fs::write(site.workspace.path("filler"), noise(5, size)).unwrap();
    let second = site.pack(&light(
        2,
        &data_file("filler", &site.workspace.path("filler")),
    ));
    let folder = second.folder.display().to_string();
    let said = success([
        "publish",
        &folder,
        "--site",
        "lab",
        "--connect",
        &listen,
        "--expect",
        "3",
        "--stage-only",
        "--timeout",
        "100",
        "--json",
    ]);
    assert!(!said.is_empty());
    let listed = success(["status", "--site", "lab", "--connect", &listen, "--json"]);
    for device in &devices {
        let state = device.state();
        assert_eq!(state["slots"]["staged"]["generation"], 2, "{state:#}");
        assert!(
            listed.contains(&format!("\"{}\"", device.name())),
            "{listed}"
        );
    }
    let shared = devices.iter().any(|device| {
        let log = device.log();
        let mut fetched = log.lines().filter(|line| line.contains("\"fetched\""));
        fetched.any(|line| {
            ["a", "b", "c"].iter().any(|name| {
                [format!("\"{name} ("), format!(", {name} (")]
                    .iter()
                    .any(|from| line.contains(from))
            })
        })
    });
    assert!(shared, "{}", devices[0].log());
}

#[test]
fn a_registry_that_is_a_router_connects_a_site_and_may_restart() {
    let mut site = Site::new();
    site.close();
    let listen = free_endpoint();
    let router = Registry::start(&site, "hub", &listen, None, true);
    let first = site.pack(&light(1, ""));
    let device = site.device_at("cam", &first, &listen, "").run();
    let second = site.pack(&light(2, ""));
    let publish = |packed: &Packed| {
        let folder = packed.folder.display().to_string();
        let arguments = [
            "publish",
            &folder,
            "--site",
            "lab",
            "--connect",
            &listen,
            "--expect",
            "1",
            "--stage-only",
            "--timeout",
            "60",
        ];
        let output = hotshoe(arguments);
        assert!(
            output.status.success(),
            "{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    };
    publish(&second);
    drop(router);
    let _router = Registry::start(&site, "hub", &listen, None, true);
    let third = site.pack(&light(3, ""));
    publish(&third);
    let state = device.state();
    assert_eq!(state["slots"]["staged"]["generation"], 3, "{state:#}");
    assert_eq!(state["release"]["generation"], 1);
}
