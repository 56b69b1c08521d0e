//! Asking devices once. A session that has just connected does not know yet who is there, so silence is asked again.

use std::time::{Duration, Instant};

use hotshoe_link::{Client, LinkError};
use hotshoe_link::{DeviceKey, DeviceMessage};
use hotshoe_protocol::status::Status;

/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a device may take to answer before it counts as silent in this round.
const ROUND: Duration = Duration::from_secs(2);

/// Answers, and who is there.
#[derive(Debug, Default)]
pub struct Survey {
    /// The answers.
    pub statuses: Vec<DeviceMessage<Status>>,
    /// Devices by their liveliness tokens.
    pub present: Vec<DeviceKey>,
}

/// Asks until all that are there have answered and nobody more has appeared, for `timeout` at most.
pub fn survey(
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
        // One device is asked for by name, so its answer is all there is.
        let settled = complete && (device.is_some() || before == Some(all));
        if settled || begun.elapsed() >= timeout {
            return Ok(found);
        }
        before = Some(all);
        // Not parking: waiting for an answer may leave a wake-up behind, and this would spin.
        std::thread::sleep(PAUSE);
    }
}
