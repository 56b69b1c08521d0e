//! A recorded tree of sensors: the files of a board below `/sys` and `/proc`, which a test rewrites.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the only thermal zone.
pub(crate) const ZONE: &str = "sys/class/thermal/thermal_zone0";
/// Its temperature.
pub(crate) const TEMPERATURE: &str = "sys/class/thermal/thermal_zone0/temp";
/// What a device is put to sleep by.
pub(crate) const SLEEP: &str = "sys/power/state";

/// What a battery does, as the kernel says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Battery {
    Discharging,
    /// And the mains are there.
    Charging,
}

/// A tree in a folder.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// A board with one thermal zone of 40 C, and no battery.
    pub(crate) fn new(root: PathBuf) -> Self {
        let tree = Self { root };
        tree.write("proc/loadavg", "0.20 0.30 0.25 1/120 4242\n");
        tree.write("proc/uptime", "5025.31 9876.12\n");
        tree.write(
            "proc/meminfo",
            "MemTotal:        2048000 kB\nMemFree:          512000 kB\nMemAvailable:    1024000 kB\n",
        );
        tree.zone(40.0);
        tree
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Replaces a file as a whole: a reader sees the old or the new one.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let (path, new) = (self.root.join(path), self.root.join("new"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&new, content).unwrap();
        fs::rename(new, path).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    /// Makes the thermal zone, with this temperature.
    pub(crate) fn zone(&self, celsius: f64) {
        self.write(&format!("{ZONE}/type"), "cpu-thermal\n");
        self.heat(celsius);
    }

    /// Sets the temperature of the thermal zone.
    pub(crate) fn heat(&self, celsius: f64) {
        self.write(TEMPERATURE, &format!("{:.0}\n", celsius * 1000.0));
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_dir_all(self.root.join(path)).unwrap();
    }

    /// Makes a pipe in the place of a file: a read waits until something is written to it.
    pub(crate) fn hang(&self, path: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    }

    /// Sets the battery of 50 Wh and the mains. A battery that discharges gives 10 W.
    pub(crate) fn charge(&self, percent: u32, battery: Battery) {
        let mains = "sys/class/power_supply/AC";
        let online = u32::from(battery == Battery::Charging);
        self.write(&format!("{mains}/type"), "Mains\n");
        self.write(&format!("{mains}/online"), &format!("{online}\n"));
        let folder = "sys/class/power_supply/BAT0";
        for (file, content) in [
            ("type", "Battery".to_owned()),
            ("present", "1".to_owned()),
            ("power_now", "10000000".to_owned()),
            ("energy_full", "50000000".to_owned()),
            ("capacity", percent.to_string()),
            ("status", format!("{battery:?}")),
        ] {
            self.write(&format!("{folder}/{file}"), &format!("{content}\n"));
        }
    }
}
