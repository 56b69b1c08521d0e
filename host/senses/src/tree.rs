//! A sensor tree as it was read: the files that are read, in which order, and within which bounds. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use crate::fault_kind::FaultKind;
use crate::reading::Space;

/// Most bytes of one file. The kernel gives at most a page for an attribute in `/sys`.
pub const MAX_FILE_BYTES: u64 = 16 << 10;
/// Most sensors of one kind; those with the highest numbers are left out and counted.
pub const MAX_SENSORS: usize = 64;
/// Longest name of a sensor, in bytes.
pub const MAX_LABEL_BYTES: usize = 64;
/// Most entries of a folder that are looked at.
pub(crate) const MAX_ENTRIES: usize = 1_024;

/// What the request for free space is called among the paths.
pub(crate) const DATA_FOLDER: &str = "data folder";

/// One thing to read. Paths are relative to the root of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// The names in a folder.
    List(String),
    /// The content of a file.
    Read(String),
    /// The space of the data folder.
    Space,
}

impl Request {
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::List(path) | Self::Read(path) => path,
            Self::Space => DATA_FOLDER,
        }
    }

    /// What hangs together: the folder of a sensor, all files of which have one driver, or the path.
    pub(crate) fn owner(&self) -> &str {
        match self {
            Self::Read(path) if path.starts_with("sys/") => path
                .rsplit_once('/')
                .map_or(path.as_str(), |(folder, _)| folder),
            _ => self.path(),
        }
    }
}

/// A kind of sensors that have a folder each.
pub(crate) struct Kind {
    /// The folder of their folders.
    pub(crate) folder: &'static str,
    /// What the names of their folders begin with.
    pub(crate) prefix: &'static str,
    /// What is read of each.
    files: &'static [&'static str],
}

pub(crate) const THERMAL: Kind = Kind {
    folder: "sys/class/thermal",
    prefix: "thermal_zone",
    files: &["type", "temp"],
};
pub(crate) const COOLING: Kind = Kind {
    folder: "sys/class/thermal",
    prefix: "cooling_device",
    files: &["type", "cur_state", "max_state"],
};
pub(crate) const CPUS: Kind = Kind {
    folder: "sys/devices/system/cpu/cpufreq",
    prefix: "policy",
    files: &["scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq"],
};
pub(crate) const SUPPLIES: Kind = Kind {
    folder: "sys/class/power_supply",
    prefix: "",
    files: &[
        "type",
        "scope",
        "present",
        "online",
        "status",
        "capacity",
        "power_now",
        "current_now",
        "voltage_now",
        "energy_now",
        "energy_full",
        "charge_now",
        "charge_full",
    ],
};
/// `intel-rapl-mmio:` has another prefix: it counts the energy of `intel-rapl:0` a second time. AMD's zones have Intel's name.
pub(crate) const RAPL: Kind = Kind {
    folder: "sys/class/powercap",
    prefix: "intel-rapl:",
    files: &["name", "energy_uj", "max_energy_range_uj"],
};
const KINDS: [&Kind; 5] = [&THERMAL, &COOLING, &CPUS, &SUPPLIES, &RAPL];

pub(crate) const LOAD: &str = "proc/loadavg";
pub(crate) const MEMORY: &str = "proc/meminfo";
pub(crate) const UPTIME: &str = "proc/uptime";
pub(crate) const PRESSURE_CPU: &str = "proc/pressure/cpu";
pub(crate) const PRESSURE_MEMORY: &str = "proc/pressure/memory";
pub(crate) const PRESSURE_IO: &str = "proc/pressure/io";
const FILES: [&str; 6] = [
    LOAD,
    MEMORY,
    UPTIME,
    PRESSURE_CPU,
    PRESSURE_MEMORY,
    PRESSURE_IO,
];
/// The folder of systemd's time client.
const TIMESYNC: &str = "run/systemd/timesync";
/// The file in it once the clock was set.
const SYNCHRONISED: &str = "synchronized";

/// What was read of a sensor tree. What is not in it was not there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree {
    files: BTreeMap<String, Vec<u8>>,
    faults: BTreeMap<String, FaultKind>,
    space: Option<Space>,
    is_clock_synchronised: Option<bool>,
    left_out: usize,
}

impl Tree {
    /// Adds a file, by its path relative to the root, such as `proc/loadavg`.
    pub fn insert(&mut self, path: &str, content: Vec<u8>) {
        self.faults.remove(path);
        self.files.insert(path.to_owned(), content);
    }

    /// Adds a file or something else that is there and cannot be read.
    pub fn insert_fault(&mut self, path: &str, kind: FaultKind) {
        self.files.remove(path);
        self.faults.insert(path.to_owned(), kind);
    }

    /// Adds the space of the data folder.
    pub fn set_space(&mut self, space: Space) {
        self.space = Some(space);
    }

    /// Adds what is known of the system's clock.
    pub fn set_clock(&mut self, is_synchronised: bool) {
        self.is_clock_synchronised = Some(is_synchronised);
    }

    pub(crate) fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    pub(crate) fn faults(&self) -> impl Iterator<Item = (&str, FaultKind)> {
        let faults = self.faults.iter();
        faults.map(|(path, kind)| (path.as_str(), *kind))
    }

    pub(crate) fn space(&self) -> Option<Space> {
        self.space
    }

    pub(crate) fn is_clock_synchronised(&self) -> Option<bool> {
        self.is_clock_synchronised
    }

    /// Sensors beyond [`MAX_SENSORS`] of their kind.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out
    }

    /// The names of the sensors of a kind, in the order of their numbers, at most [`MAX_SENSORS`].
    pub(crate) fn sensors(&self, kind: &Kind) -> Vec<&str> {
        let start = format!("{}/", kind.folder);
        let names: BTreeSet<&str> = self
            .files
            .range(start.clone()..)
            .map_while(|(path, _)| path.strip_prefix(&start))
            .filter_map(|rest| Some(rest.split_once('/')?.0))
            .filter(|name| is_sensor(name, kind))
            .collect();
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_by_key(|name| order(name, kind));
        names.truncate(MAX_SENSORS);
        names
    }
}

/// What is read first: single files, and the folders that say what else there is.
pub(crate) fn first_requests() -> Vec<Request> {
    let folders: BTreeSet<&str> = KINDS
        .iter()
        .map(|kind| kind.folder)
        .chain([TIMESYNC])
        .collect();
    let files = FILES.map(|path| Request::Read(path.to_owned()));
    let lists = folders
        .into_iter()
        .map(|path| Request::List(path.to_owned()));
    files
        .into_iter()
        .chain([Request::Space])
        .chain(lists)
        .collect()
}

/// What is read then: the files of each sensor in the listed folders. What the lists say themselves goes into `tree`: the clock, and how many
/// sensors are too many.
pub(crate) fn sensor_requests(
    listed: &BTreeMap<String, Vec<String>>,
    tree: &mut Tree,
) -> Vec<Request> {
    if let Some(names) = listed.get(TIMESYNC) {
        tree.set_clock(names.iter().any(|name| name == SYNCHRONISED));
    }
    let mut requests = Vec::new();
    for kind in KINDS {
        let names = listed.get(kind.folder).into_iter().flatten();
        let mut names: Vec<&String> = names.filter(|name| is_sensor(name, kind)).collect();
        names.sort_by_key(|name| order(name, kind));
        tree.left_out += names.len().saturating_sub(MAX_SENSORS);
        for name in names.into_iter().take(MAX_SENSORS) {
            let path = |file| Request::Read(format!("{}/{name}/{file}", kind.folder));
            requests.extend(kind.files.iter().map(path));
        }
    }
    requests
}

fn is_sensor(name: &str, kind: &Kind) -> bool {
    is_label(name) && name.starts_with(kind.prefix)
}

/// Whether a text can name a sensor: short, and without control characters.
pub(crate) fn is_label(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_LABEL_BYTES && !text.contains(char::is_control)
}

/// By number where there is one, so that zone 10 comes after zone 2; then by name.
fn order<'a>(name: &'a str, kind: &Kind) -> (u64, &'a str) {
    let rest = name.strip_prefix(kind.prefix).unwrap_or(name);
    let digits = rest.split(|it: char| !it.is_ascii_digit()).next();
    let number = digits.and_then(|digits| digits.parse().ok());
    (number.unwrap_or(u64::MAX), name)
}
