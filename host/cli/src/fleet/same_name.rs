//! Several daemons with the name of one device, as their answers to one query show.

use std::collections::{BTreeMap, BTreeSet};

use hotshoe_link::DeviceMessage;
use hotshoe_link::device_list::DeviceList;
use hotshoe_protocol::status::Status;

pub(crate) use hotshoe_link::same_name_text as text;

/// The number of daemons with the name of each device where there are several. With a list, only signed answers count: every peer can claim
/// to be a device.
pub(crate) fn several(
    answers: &[DeviceMessage<Status>],
    list: Option<&DeviceList>,
) -> BTreeMap<String, usize> {
    let mut sessions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in answers {
        *names.entry(answer.device.as_str()).or_default() += 1;
    }
    let is_claimed = |answer: &DeviceMessage<Status>| list.is_some() && answer.check(list).is_err();
    for answer in answers {
        let status = &answer.value;
        let is_alone = names.get(answer.device.as_str()) == Some(&1) && status.same_name.is_empty();
        if is_alone || is_claimed(answer) {
            continue;
        }
        let known = sessions.entry(&answer.device).or_default();
        known.insert(&status.session.id);
        known.extend(status.same_name.iter().map(String::as_str));
    }
    let counts = sessions
        .into_iter()
        .map(|(device, sessions)| (device.to_owned(), sessions.len()));
    counts.filter(|(_, daemons)| *daemons > 1).collect()
}
