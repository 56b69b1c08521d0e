//! A recorded sensor tree.

use std::fs;
use std::path::Path;

use hotshoe_senses::Tree;

/// A board with a fan, two clusters of processors and a battery, and the energy counters of a PC.
pub(crate) const DEVICE: &[(&str, &str)] = &[
    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
    ("sys/class/thermal/thermal_zone0/temp", "48250\n"),
    ("sys/class/thermal/thermal_zone2/type", "gpu-thermal\n"),
    ("sys/class/thermal/thermal_zone2/temp", "51000\n"),
    ("sys/class/thermal/thermal_zone10/type", "board\n"),
    ("sys/class/thermal/thermal_zone10/temp", "-5500\n"),
    ("sys/class/thermal/cooling_device0/type", "pwm-fan\n"),
    ("sys/class/thermal/cooling_device0/cur_state", "2\n"),
    ("sys/class/thermal/cooling_device0/max_state", "4\n"),
    (
        "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq",
        "600000\n",
    ),
    (
        "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq",
        "1800000\n",
    ),
    (
        "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq",
        "1800000\n",
    ),
    (
        "sys/devices/system/cpu/cpufreq/policy4/scaling_max_freq",
        "1416000\n",
    ),
    (
        "sys/devices/system/cpu/cpufreq/policy4/cpuinfo_max_freq",
        "2400000\n",
    ),
    ("sys/class/power_supply/BAT0/type", "Battery\n"),
    ("sys/class/power_supply/BAT0/present", "1\n"),
    ("sys/class/power_supply/BAT0/status", "Discharging\n"),
    ("sys/class/power_supply/BAT0/capacity", "42\n"),
    ("sys/class/power_supply/BAT0/current_now", "-1500000\n"),
    ("sys/class/power_supply/BAT0/voltage_now", "12000000\n"),
    ("sys/class/power_supply/BAT0/energy_full", "50000000\n"),
    ("sys/class/power_supply/AC/type", "Mains\n"),
    ("sys/class/power_supply/AC/online", "0\n"),
    ("sys/class/power_supply/hid-mouse/type", "Battery\n"),
    ("sys/class/power_supply/hid-mouse/scope", "Device\n"),
    ("sys/class/power_supply/hid-mouse/capacity", "3\n"),
    ("sys/class/powercap/intel-rapl:0/name", "package-0\n"),
    ("sys/class/powercap/intel-rapl:0/energy_uj", "1000000\n"),
    (
        "sys/class/powercap/intel-rapl:0/max_energy_range_uj",
        "262143328850\n",
    ),
    ("sys/class/powercap/intel-rapl-mmio:0/name", "package-0\n"),
    (
        "sys/class/powercap/intel-rapl-mmio:0/energy_uj",
        "1000000\n",
    ),
    ("proc/loadavg", "0.20 1.18 2.12 1/80 11206\n"),
    (
        "proc/meminfo",
        "MemTotal:        2048000 kB\nMemFree:          100000 kB\nMemAvailable:    1024000 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n",
    ),
    (
        "proc/pressure/cpu",
        "some avg10=1.50 avg60=0.75 avg300=0.10 total=123456\n",
    ),
    (
        "proc/pressure/io",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
    ),
    ("proc/uptime", "350735.47 234388.90\n"),
];

/// [`DEVICE`] as a tree that was read.
pub(crate) fn device() -> Tree {
    let mut tree = Tree::default();
    for (path, content) in DEVICE {
        tree.insert(path, content.as_bytes().to_vec());
    }
    tree
}

/// Writes a file of a tree.
pub(crate) fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
