//! A device whose sensors are a recorded tree in a folder, with its daemon in a separate process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use hotshoe_config::{Config, ZenohConfig};
use hotshoe_link::{Client, Feeder};
use hotshoe_protocol::status::Status;
use hotshoe_release::daemon_process::{DaemonProcess, free_endpoint};
use hotshoe_release::device::Identity;
use hotshoe_release::install;
use hotshoe_trust::Time;
use serde_json::Value;

use crate::process::processor_time;
use crate::setup::{BenchSetup, TRUST};

/// Longest time to an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// Folders that begin so, how many of them, and the files in each.
type Sensors = (&'static str, usize, &'static [(&'static str, &'static str)]);
/// The sensors of a board.
const SENSORS: [Sensors; 6] = [
    (
        "sys/class/thermal/thermal_zone",
        16,
        &[("type", "cpu-thermal"), ("temp", "40000")],
    ),
    (
        "sys/class/thermal/cooling_device",
        4,
        &[("type", "pwm-fan"), ("cur_state", "1"), ("max_state", "4")],
    ),
    (
        "sys/devices/system/cpu/cpufreq/policy",
        8,
        &[
            ("scaling_cur_freq", "1500000"),
            ("scaling_max_freq", "1800000"),
            ("cpuinfo_max_freq", "1800000"),
        ],
    ),
    (
        "sys/class/power_supply/BAT",
        1,
        &[
            ("type", "Battery"),
            ("present", "1"),
            ("status", "Discharging"),
            ("capacity", "90"),
            ("power_now", "6500000"),
            ("energy_now", "45000000"),
            ("energy_full", "50000000"),
        ],
    ),
    (
        "sys/class/powercap/intel-rapl:",
        3,
        &[
            ("name", "package-0"),
            ("energy_uj", "123456789"),
            ("max_energy_range_uj", "262143328850"),
        ],
    ),
    (
        "sys/class/power_supply/AC",
        1,
        &[("type", "Mains"), ("online", "0")],
    ),
];
/// Files without a sensor of their own.
const FILES: [(&str, &str); 6] = [
    ("proc/loadavg", "0.20 0.30 0.25 1/120 4242\n"),
    ("proc/uptime", "5025.31 9876.12\n"),
    (
        "proc/meminfo",
        "MemTotal: 2048000 kB\nMemFree: 512000 kB\nMemAvailable: 1024000 kB\n",
    ),
    ("proc/pressure/cpu", PRESSURE),
    ("proc/pressure/memory", PRESSURE),
    ("proc/pressure/io", PRESSURE),
];
const PRESSURE: &str = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";

/// A running daemon with its sensors.
pub(super) struct Board {
    tree: PathBuf,
    daemon: DaemonProcess,
    client: Client,
    zenoh: ZenohConfig,
    /// Its status at the start.
    pub device: Status,
}

impl Board {
    /// Installs a release in the folder `name`, and starts the daemon. `more` is added to the table of the governor.
    pub(super) fn start(
        setup: &BenchSetup<'_>,
        name: &str,
        layout: &Path,
        more: &str,
    ) -> anyhow::Result<Self> {
        let folder = setup.folder().join(name);
        let tree = folder.join("tree");
        record(&tree)?;
        let endpoint = free_endpoint()?;
        let path = folder.join("hotshoe.toml");
        let text = format!(
            "site = \"bench\"\ndevice = \"{name}\"\ntrust = \"../{TRUST}\"\n[zenoh]\nlisten = [\"{endpoint}\"]\n[governor]\nsensors = \"tree\"\n{more}"
        );
        write(&path, &text)?;
        let config = Config::load(&path).context("cannot load the bench's configuration")?;
        let identity = Identity::of(setup.trust().clone(), &config);
        install::install(layout, &config.data, &identity, Time::now())?;
        let zenoh = ZenohConfig {
            connect: vec![endpoint],
            ..ZenohConfig::default()
        };
        let mut daemon = DaemonProcess::start(&path, &folder.join("daemon.log"))?;
        let (client, device) = daemon.ready(&zenoh)?;
        Ok(Self {
            tree,
            daemon,
            client,
            zenoh,
            device,
        })
    }

    /// Sets the temperature of the first zone. The file is replaced as a whole.
    pub(super) fn heat(&self, celsius: f64) -> anyhow::Result<()> {
        let new = self.tree.join("new");
        write(&new, &format!("{:.0}\n", celsius * 1000.0))?;
        let path = self.tree.join("sys/class/thermal/thermal_zone0/temp");
        fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The number of files in the tree.
    pub(super) fn files(&self) -> anyhow::Result<usize> {
        let (mut folders, mut files) = (vec![self.tree.clone()], 0);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).context("cannot list the sensors")? {
                let path = entry.context("cannot list the sensors")?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files += 1;
                }
            }
        }
        Ok(files)
    }

    /// What its status says of the governor.
    pub(super) fn governor(&self) -> anyhow::Result<Value> {
        let (site, device) = (&self.device.site, &self.device.device);
        let statuses = self
            .client
            .statuses(Some(site), Some(device), ANSWER_DEADLINE)?;
        let status = statuses.first().context("the daemon does not answer")?;
        let status = serde_json::to_value(status)?;
        Ok(status.get("governor").cloned().unwrap_or_default())
    }

    /// Samples with at most so many unanswered ones.
    pub(super) fn feeder(&self, in_flight: usize) -> Feeder {
        let (site, device) = (&self.device.site, &self.device.device);
        self.client.feeder(site, device, in_flight, ANSWER_DEADLINE)
    }

    /// Opens another session.
    pub(super) fn connect(&self) -> anyhow::Result<Client> {
        Client::open(&self.zenoh).context("cannot reach the daemon")
    }

    /// The processor time of the daemon since its start.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        processor_time(self.daemon.id())
    }

    /// Stops the daemon.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.client.close();
        self.daemon.stop()
    }
}

/// Writes a tree of about a hundred files.
fn record(tree: &Path) -> anyhow::Result<()> {
    for (folder, count, files) in SENSORS {
        for number in 0..count {
            for (file, content) in files {
                write(
                    &tree.join(format!("{folder}{number}/{file}")),
                    &format!("{content}\n"),
                )?;
            }
        }
    }
    FILES
        .iter()
        .try_for_each(|(path, content)| write(&tree.join(path), content))
}

fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_recorded_tree_has_about_a_hundred_files() {
        let folder = tempfile::tempdir().unwrap();
        record(folder.path()).unwrap();
        let of_sensors = SENSORS.iter().map(|(_, count, files)| count * files.len());
        let count = of_sensors.sum::<usize>() + FILES.len();
        assert_eq!(count, 92);
        let zone = folder.path().join("sys/class/thermal/thermal_zone15/temp");
        assert_eq!(fs::read_to_string(zone).unwrap(), "40000\n");
    }
}
