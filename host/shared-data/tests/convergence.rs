//! Replicas that edit while they are cut off, meet in any order, get old messages again, restart, and have clocks that step.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_shared_data::{
    Definition, HybridTime, JsonText, Replica, Rule, SharedDataError, SharedStore, SharedValue,
    View, Writer,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

const RULES: [(&str, Rule); 3] = [
    ("list", Rule::Append),
    ("latest", Rule::LastWriterWins),
    ("setting", Rule::RemoteWins),
];
/// Some day, in milliseconds since 1970-01-01T00:00:00Z.
const DAY: u64 = 1_800_000_000_000;
const MINUTE: u64 = 60_000;

fn json_text(value: &Value) -> JsonText {
    JsonText::of(value).unwrap()
}

fn writer(place: usize) -> Writer {
    match place {
        0 => Writer::device("line-4"),
        1 => Writer::site("alice"),
        _ => Writer::site("bob"),
    }
}

fn replica(place: usize) -> Replica {
    let mut replica = Replica::new(writer(place));
    for (name, rule) in RULES {
        let definition = Definition {
            rule,
            max_items: 5,
            max_bytes: 24,
        };
        assert!(!replica.define(name, definition));
    }
    replica
}

fn write(replica: &mut Replica, name: &str, value: &Value, now_ms: u64) {
    let text = json_text(value);
    let written = match replica.definition(name).unwrap().rule {
        Rule::Append => replica.append(name, text, now_ms),
        _ => replica.set(name, text, now_ms),
    };
    written.unwrap();
}

fn views(replica: &Replica) -> Vec<View> {
    replica
        .names()
        .map(|name| replica.view(name).unwrap())
        .collect()
}

/// Gives `to` what `from` has.
fn give(from: &Replica, to: &mut Replica, now_ms: u64) {
    for (name, _) in RULES {
        let state = from.state(name).unwrap().clone();
        to.exchange(name, state, now_ms, now_ms).unwrap();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize, usize, u8),
    Give(usize, usize),
    /// Delivers an earlier message again, and late.
    Replay(usize, usize),
    /// Sets the clock of a replica, in minutes from the true time.
    SetClock(usize, i64),
    Restart(usize),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_usize, 0..3_usize, any::<u8>()).prop_map(|(at, name, value)| Step::Write(at, name, value)),
        3 => (0..3_usize, 0..3_usize).prop_map(|(from, to)| Step::Give(from, to)),
        1 => (any::<usize>(), 0..3_usize).prop_map(|(message, to)| Step::Replay(message, to)),
        1 => (0..3_usize, -90..90_i64).prop_map(|(at, minutes)| Step::SetClock(at, minutes)),
        1 => (0..3_usize).prop_map(Step::Restart),
        1 => (0..10 * MINUTE).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..40)
}

struct Site {
    replicas: Vec<Replica>,
    minutes_ahead: [i64; 3],
    now_ms: u64,
    /// What was sent so far: the name, the state, and the sender's time.
    sent: Vec<(&'static str, SharedValue, u64)>,
}

/// A replica that was written to a file and read back.
fn restarted(replica: &Replica, place: usize) -> Replica {
    let folder = TempDir::new().unwrap();
    let open = || {
        let disk = Disk::new(Faults::never());
        let (store, damaged) = SharedStore::open(disk, folder.path(), writer(place)).unwrap();
        assert!(damaged.is_none());
        store
    };
    let copy = |empty: &mut Replica| {
        *empty = replica.clone();
        Ok(())
    };
    open().change(copy).unwrap();
    open().replica().clone()
}

impl Site {
    fn new() -> Self {
        Self {
            replicas: (0..3).map(replica).collect(),
            minutes_ahead: [0; 3],
            now_ms: DAY,
            sent: Vec::new(),
        }
    }

    fn clock(&self, place: usize) -> u64 {
        let ahead = self.minutes_ahead[place] * i64::try_from(MINUTE).unwrap();
        self.now_ms.saturating_add_signed(ahead)
    }

    fn deliver(&mut self, name: &str, state: SharedValue, at_ms: u64, to: usize) {
        let now_ms = self.clock(to);
        match self.replicas[to].exchange(name, state, at_ms, now_ms) {
            Ok(_) | Err(SharedDataError::ClocksDiffer { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write(at, name, value) => {
                let now_ms = self.clock(at);
                write(&mut self.replicas[at], RULES[name].0, &json!(value), now_ms);
            }
            Step::Give(from, to) => {
                let at_ms = self.clock(from);
                for (name, _) in RULES {
                    let state = self.replicas[from].state(name).unwrap().clone();
                    self.sent.push((name, state.clone(), at_ms));
                    self.deliver(name, state, at_ms, to);
                }
            }
            Step::Replay(message, to) if !self.sent.is_empty() => {
                let (name, state, at_ms) = self.sent[message % self.sent.len()].clone();
                self.deliver(name, state, at_ms, to);
            }
            Step::Replay(..) => {}
            Step::SetClock(at, minutes) => self.minutes_ahead[at] = minutes,
            Step::Restart(at) => {
                let again = restarted(&self.replicas[at], at);
                assert_eq!(again, self.replicas[at]);
                self.replicas[at] = again;
            }
            Step::Pass(ms) => self.now_ms += ms,
        }
    }

    /// Sets all clocks right, and lets every replica give to every other, three times.
    fn heal(&mut self) {
        self.minutes_ahead = [0; 3];
        for _ in 0..3 {
            for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
                self.take(Step::Give(from, to));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn all_replicas_reach_the_same_values(steps in steps()) {
        let mut site = Site::new();
        for step in steps {
            site.take(step);
        }
        site.heal();
        let [a, b, c] = [0, 1, 2].map(|place| &site.replicas[place]);
        for (name, _) in RULES {
            prop_assert_eq!(a.state(name).unwrap(), b.state(name).unwrap());
            prop_assert_eq!(a.state(name).unwrap(), c.state(name).unwrap());
        }
        // And a write afterwards is taken by all, whatever the clocks were.
        for (name, _) in RULES {
            site.take(Step::Write(1, RULES.iter().position(|it| it.0 == name).unwrap(), 7));
        }
        site.heal();
        for view in views(&site.replicas[0]) {
            let shown = match view.rule {
                Rule::Append => view.value.as_array().unwrap().last().unwrap().clone(),
                _ => view.value,
            };
            prop_assert_eq!(shown, json!(7));
        }
    }
}

#[test]
fn both_ends_write_while_they_are_cut_off() {
    let (mut device, mut site) = (replica(0), replica(1));
    write(&mut site, "setting", &json!("first"), DAY);
    give(&site, &mut device, DAY);
    for (name, _) in RULES {
        write(&mut site, name, &json!("site"), DAY + 1);
        write(&mut device, name, &json!("device"), DAY + 2);
    }
    let pending = device.view("setting").unwrap();
    assert_eq!((pending.value, pending.pending), (json!("device"), true));
    give(&device, &mut site, DAY + 3);
    give(&site, &mut device, DAY + 3);
    for replica in [&device, &site] {
        let shown = |name| replica.view(name).unwrap();
        assert_eq!(shown("list").value, json!(["site", "device"]));
        assert_eq!(shown("latest").value, json!("device"));
        assert_eq!(shown("setting").value, json!("site"));
        assert!(!shown("setting").pending);
    }
    // A write of the device after it saw the site's is pending at both ends, until the site writes.
    write(&mut device, "setting", &json!("again"), DAY + 4);
    give(&device, &mut site, DAY + 5);
    let shown = site.view("setting").unwrap();
    assert_eq!((shown.value, shown.pending), (json!("again"), true));
    assert_eq!(shown.by, Some(Writer::device("line-4")));
    write(&mut site, "setting", &json!("last"), DAY + 6);
    give(&site, &mut device, DAY + 7);
    let shown = device.view("setting").unwrap();
    assert_eq!((shown.value, shown.pending), (json!("last"), false));
}

#[test]
fn a_text_is_the_writer_s_and_that_of_a_list_is_an_array() {
    let mut device = replica(0);
    for (name, _) in RULES {
        assert_eq!(device.text(name).unwrap(), None);
    }
    let written = JsonText::try_from("1.10".to_owned()).unwrap();
    device.set("latest", written.clone(), DAY).unwrap();
    device.append("list", written, DAY).unwrap();
    write(&mut device, "list", &json!("x"), DAY);
    assert_eq!(device.text("latest").unwrap().as_deref(), Some("1.10"));
    assert_eq!(
        device.text("list").unwrap().as_deref(),
        Some("[1.10,\"x\"]")
    );
    assert_eq!(device.text("none").unwrap_err().name(), "unknown_value");
}

#[test]
fn a_wrong_clock_does_not_win_for_ever() {
    let year = 365 * 24 * 60 * MINUTE;
    let (mut device, mut site) = (replica(0), replica(1));
    write(&mut device, "latest", &json!("from the future"), DAY + year);
    // The clocks differ: nothing is known about either.
    let state = device.state("latest").unwrap().clone();
    let refused = site.exchange("latest", state.clone(), DAY + year, DAY);
    assert_eq!(refused.unwrap_err().name(), "clocks_differ");
    // The device's clock is set, and a message has the old time: the entry is left out, and named.
    let merged = site.exchange("latest", state, DAY, DAY).unwrap();
    assert_eq!((merged.changed, merged.ahead), (false, 1));
    // The device hears from the site, and writes its value again with the time now.
    give(&site, &mut device, DAY);
    give(&device, &mut site, DAY);
    let shown = site.view("latest").unwrap();
    assert_eq!(
        (shown.value, shown.at_ms),
        (json!("from the future"), Some(DAY))
    );
    write(&mut site, "latest", &json!("now"), DAY + 1);
    give(&site, &mut device, DAY + 1);
    assert_eq!(device.view("latest").unwrap().value, json!("now"));
}

#[test]
fn a_clock_that_is_far_behind_costs_no_value() {
    let (mut device, mut site) = (replica(0), replica(1));
    write(&mut site, "latest", &json!(1), DAY);
    give(&site, &mut device, DAY);
    // A start without a network: 1970.
    write(&mut device, "latest", &json!(2), 5);
    let view = device.view("latest").unwrap();
    assert_eq!((view.value, view.at_ms), (json!(2), Some(DAY)));
    let state = site.state("latest").unwrap().clone();
    let refused = device.exchange("latest", state, DAY + 1, 6);
    assert_eq!(refused.unwrap_err().name(), "clocks_differ");
    give(&device, &mut site, DAY + 1);
    assert_eq!(site.view("latest").unwrap().value, json!(2));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut device = replica(0);
    let before = device.clone();
    let long = json_text(&json!("-".repeat(23)));
    let name = |result: Result<(), SharedDataError>| result.unwrap_err().name();
    let short = || json_text(&json!(1));
    assert_eq!(name(device.set("latest", long, DAY)), "value_too_large");
    assert_eq!(name(device.set("list", short(), DAY)), "other_rule");
    assert_eq!(name(device.append("latest", short(), DAY)), "other_rule");
    assert_eq!(name(device.set("none", short(), DAY)), "unknown_value");
    let other = SharedValue::empty(Rule::Append);
    let refused = device.exchange("latest", other, DAY, DAY);
    assert_eq!(refused.unwrap_err().name(), "other_rule");
    // The device as a writer of the site's part.
    let forged = json!({"remote-wins": {"site": {
        "at": HybridTime { wall_ms: DAY, counter: 0 }, "by": Writer::device("x"), "value": "1",
    }}});
    let forged = serde_json::from_value(forged).unwrap();
    let refused = device.exchange("setting", forged, DAY, DAY);
    assert_eq!(refused.unwrap_err().name(), "invalid_state");
    assert_eq!(device, before);
}

#[test]
fn a_value_keeps_its_limits_and_loses_its_state_with_another_rule() {
    let mut device = replica(0);
    write(&mut device, "latest", &json!(1), DAY);
    let wider = Definition::new(Rule::LastWriterWins);
    assert!(!device.define("latest", wider));
    assert_eq!(device.view("latest").unwrap().value, json!(1));
    assert!(device.define("latest", Definition::new(Rule::RemoteWins)));
    assert_eq!(device.view("latest").unwrap().value, Value::Null);
    assert_eq!(device.retain(|name| name != "list"), ["list"]);
    assert_eq!(device.names().collect::<Vec<_>>(), ["latest", "setting"]);
}
