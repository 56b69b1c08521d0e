//! What is simulated.

/// The network between controllers, registries and devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Share of messages that are lost, in thousandths. Default: 5.
    pub loss_permille: u64,
    /// Least delay of a message, in milliseconds. Default: 20.
    pub least_delay_ms: u64,
    /// Longest delay of a message, in milliseconds. Default: 400.
    pub most_delay_ms: u64,
    /// After a loss, the next try, in milliseconds: devices ask their registry every 30 s. Default: 30,000.
    pub retry_ms: u64,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            loss_permille: 5,
            least_delay_ms: 20,
            most_delay_ms: 400,
            retry_ms: 30_000,
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Devices that are off all the time, in thousandths. Those of the first stage are on.
    pub off_permille: u64,
    /// Devices on which the release fails its trial, in thousandths. Not those of the first stage.
    pub bad_permille: u64,
    /// Sites that are cut off from the controllers for an hour, 10 minutes after the start, in thousandths.
    pub dark_permille: u64,
    /// Power cuts of a device in each step of an update, in thousandths. It begins the step again.
    pub cut_permille: u64,
    /// Controllers that forget everything, each minute, in thousandths.
    pub dies_permille: u64,
    /// Sites whose registry says that all went well, for as many devices as the plan allows.
    pub lying_sites: usize,
    /// Devices with a wrong clock, in thousandths. Not those of the first stage.
    pub wrong_clock_permille: u64,
    /// By how many seconds a wrong clock is ahead; negative if it is behind.
    pub clock_ahead_s: i64,
}

/// A fleet, its rollout, and what goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Number of devices.
    pub devices: usize,
    /// Number of sites.
    pub sites: usize,
    /// What everything follows from.
    pub seed: u64,
    /// The shares of the stages after the first devices, in millionths.
    pub shares_ppm: Vec<u32>,
    /// Least time of a stage, in seconds.
    pub watch_s: u64,
    /// Samples that the gates need. A device has 100 once it confirmed the release.
    pub min_samples: u64,
    /// The network.
    pub network: Network,
    /// What goes wrong.
    pub faults: Faults,
}

impl Settings {
    /// A rollout to 1%, 10%, 50% and all of these devices, each stage watched for an hour, without faults.
    pub fn new(devices: usize, sites: usize, seed: u64) -> Self {
        Self {
            devices,
            sites: sites.max(1),
            seed,
            shares_ppm: vec![10_000, 100_000, 500_000, 1_000_000],
            watch_s: 3_600,
            min_samples: 20,
            network: Network::default(),
            faults: Faults::default(),
        }
    }
}
