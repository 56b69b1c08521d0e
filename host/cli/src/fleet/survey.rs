//! Asks devices for their status once. A new session does not know all devices yet, so it asks repeatedly.

use std::time::{Duration, Instant};

use hotshoe_link::{Client, LinkError};
use hotshoe_link::{DeviceKey, DeviceMessage};
use hotshoe_protocol::status::Status;

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a device may take to answer in one round.
const ROUND: Duration = Duration::from_secs(2);

/// The answers, and the devices that are present.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The answers.
    pub statuses: Vec<DeviceMessage<Status>>,
    /// Devices by their liveliness tokens.
    pub present: Vec<DeviceKey>,
}

/// Asks until all devices that are present have answered and no new one appears, at most for `timeout`.
pub(crate) fn survey(
    client: &Client,
    site: Option<&str>,
    device: Option<&str>,
    timeout: Duration,
) -> Result<Survey, LinkError> {
    let begun = Instant::now();
    let mut before = None;
    loop {
        let round = ROUND.min(timeout);
        let statuses = client.ask_statuses(site, device, round)?;
        let mut present = client.devices(site, round)?;
        present.retain(|key| device.is_none_or(|device| device == key.device));
        let all = statuses.len();
        let complete = all > 0 && all >= present.len();
        let found = Survey { statuses, present };
        // One device is asked by name, so its answer is enough.
        let settled = complete && (device.is_some() || before == Some(all));
        if settled || begun.elapsed() >= timeout {
            return Ok(found);
        }
        before = Some(all);
        // Sleep instead of park: waiting for an answer may leave an unpark token behind, and this would spin.
        std::thread::sleep(PAUSE);
    }
}
