//! How two states merge: the smallest cases, and the laws.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use hotshoe_shared_data::{
    AppendList, Definition, Entry, HybridTime, JsonText, Register, RemoteRegister, Rule,
    SharedValue, Writer,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn json_text(value: &Value) -> JsonText {
    JsonText::of(value).unwrap()
}

fn entry(wall_ms: u64, by: Writer, value: Value) -> Entry {
    Entry {
        at: HybridTime {
            wall_ms,
            counter: 0,
        },
        by,
        value: json_text(&value),
    }
}

fn limits(rule: Rule, max_items: u32, max_bytes: u32) -> Definition {
    Definition {
        rule,
        max_items,
        max_bytes,
    }
}

fn merged(one: &SharedValue, other: &SharedValue, limits: &Definition) -> SharedValue {
    let mut merged = one.clone();
    merged.merge(other.clone(), limits);
    merged
}

/// A list of these items, which is truncated like any other.
fn list(items: impl IntoIterator<Item = Entry>, limits: &Definition) -> SharedValue {
    let mut all = SharedValue::Append(AppendList::default());
    for item in items {
        let text = serde_json::to_value(&item).unwrap();
        let one = serde_json::from_value(json!({"append": {"items": [text]}})).unwrap();
        all.merge(one, limits);
    }
    all
}

fn values(list: &SharedValue) -> Vec<Value> {
    let SharedValue::Append(list) = list else {
        panic!("not a list");
    };
    list.items().iter().map(|item| item.value.value()).collect()
}

#[test]
fn the_last_writer_wins_by_time_then_writer_then_value() {
    let any = Definition::new(Rule::LastWriterWins);
    let of = |entry| SharedValue::LastWriterWins(Register { entry: Some(entry) });
    let (device, site) = (Writer::device("a"), Writer::site("b"));
    let by_time = [
        entry(2, device.clone(), json!("late")),
        entry(1, site.clone(), json!("early")),
    ];
    let by_writer = [
        entry(1, site, json!("site")),
        entry(1, device.clone(), json!("device")),
    ];
    for [wins, loses] in [by_time, by_writer] {
        let (wins, loses) = (of(wins), of(loses));
        assert_eq!(merged(&wins, &loses, &any), wins);
        assert_eq!(merged(&loses, &wins, &any), wins);
    }
    // One writer with two replicas: either value, but the same one.
    let [one, other] = [1, 2].map(|value| of(entry(1, device.clone(), json!(value))));
    assert_eq!(merged(&one, &other, &any), merged(&other, &one, &any));
    let empty = SharedValue::empty(Rule::LastWriterWins);
    assert_eq!(merged(&empty, &one, &any), one);
    assert_eq!(merged(&one, &empty, &any), one);
}

#[test]
fn any_write_of_the_site_that_the_device_has_not_seen_replaces_the_device_s() {
    let any = Definition::new(Rule::RemoteWins);
    let (device, site) = (Writer::device("a"), Writer::site("b"));
    let of = |site: Option<&Entry>, pending: Option<&Entry>| {
        SharedValue::RemoteWins(RemoteRegister {
            site: site.cloned(),
            pending: pending.cloned(),
        })
    };
    let first = entry(1, site.clone(), json!(1));
    let local = entry(9, device.clone(), json!(2));
    // Concurrent: the site wrote earlier, but the device had not seen it.
    let second = entry(5, site, json!(3));
    let edited = of(Some(&first), Some(&local));
    let newer = of(Some(&second), None);
    assert_eq!(merged(&edited, &newer, &any), newer);
    assert_eq!(merged(&newer, &edited, &any), newer);
    // A write of the device after it saw the site's stays, at both ends.
    let after = of(Some(&second), Some(&local));
    assert_eq!(merged(&after, &newer, &any), after);
    assert_eq!(merged(&newer, &after, &any), after);
    // Of two writes of the device over the same one of the site, the later one.
    let again = of(Some(&second), Some(&entry(10, device, json!(4))));
    assert_eq!(merged(&after, &again, &any), again);
    assert_eq!(merged(&again, &after, &any), again);
}

#[test]
fn a_list_has_all_items_once_in_the_order_of_their_times() {
    let any = Definition::new(Rule::Append);
    let (device, site) = (Writer::device("a"), Writer::site("b"));
    let one = list(
        [
            entry(1, device.clone(), json!("x")),
            entry(3, device.clone(), json!("z")),
        ],
        &any,
    );
    let other = list(
        [entry(2, site, json!("y")), entry(3, device, json!("z"))],
        &any,
    );
    let both = merged(&one, &other, &any);
    assert_eq!(values(&both), ["x", "y", "z"]);
    assert_eq!(merged(&other, &one, &any), both);
    assert_eq!(merged(&both, &both, &any), both);
}

#[test]
fn a_list_drops_its_oldest_items_at_its_limits() {
    let device = Writer::device("a");
    let items = [1, 2, 3, 4].map(|at| entry(at, device.clone(), json!(at)));
    let three = limits(Rule::Append, 3, 100);
    assert_eq!(values(&list(items.clone(), &three)), [2, 3, 4]);
    // One digit is one byte.
    let two_bytes = limits(Rule::Append, 100, 2);
    assert_eq!(values(&list(items, &two_bytes)), [3, 4]);
}

/// The smallest case in which dropping by size would depend on the order: `z` does not fit beside `t`, but the older `y` would.
#[test]
fn an_older_item_does_not_take_the_room_of_one_that_was_dropped() {
    let ten = limits(Rule::Append, 100, 10);
    let device = Writer::device("a");
    let text = |at, bytes: usize| entry(at, device.clone(), json!("-".repeat(bytes - 2)));
    let (y, z, t) = (text(1, 3), text(2, 6), text(3, 5));
    let with_z = list([t.clone(), z], &ten);
    assert_eq!(values(&with_z), ["---"], "t alone");
    let late = merged(&with_z, &list([y.clone()], &ten), &ten);
    assert_eq!(values(&late), ["---"], "y is older than z");
    // Without z, y fits.
    assert_eq!(values(&list([t, y], &ten)), ["-", "---"]);
}

#[test]
fn a_state_of_another_rule_changes_nothing() {
    let any = Definition::new(Rule::Append);
    let one = list([entry(1, Writer::device("a"), json!(1))], &any);
    let other = SharedValue::empty(Rule::LastWriterWins);
    assert_eq!(merged(&one, &other, &any), one);
}

#[test]
fn the_text_of_a_value_is_kept_as_its_writer_wrote_it() {
    let text = r#"{"b": 1.10, "a": 12345678901234567890123}"#;
    let value = JsonText::try_from(text.to_owned()).unwrap();
    let again: JsonText = serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap();
    assert_eq!(again.as_str(), text);
    for wrong in ["", "{", r#"{"a":1,"a":2}"#] {
        assert!(JsonText::try_from(wrong.to_owned()).is_err(), "{wrong}");
    }
    let long = format!("\"{}\"", "a".repeat(65_535));
    assert!(JsonText::try_from(long).is_err());
}

fn writers() -> impl Strategy<Value = Writer> {
    prop_oneof![
        Just(Writer::device("line-4")),
        Just(Writer::site("alice")),
        Just(Writer::site("bob")),
    ]
}

/// Writes whose times, writers and values often agree.
fn entries(by: impl Strategy<Value = Writer>) -> impl Strategy<Value = Entry> {
    (0..6_u64, by, 0..8_usize).prop_map(|(at, by, bytes)| entry(at, by, json!("-".repeat(bytes))))
}

fn lists() -> impl Strategy<Value = SharedValue> {
    prop::collection::vec(entries(writers()), 0..8)
        .prop_map(|items| list(items, &limits(Rule::Append, 4, 20)))
}

fn registers() -> impl Strategy<Value = SharedValue> {
    prop::option::of(entries(writers()))
        .prop_map(|entry| SharedValue::LastWriterWins(Register { entry }))
}

fn remote_registers() -> impl Strategy<Value = SharedValue> {
    let site = prop_oneof![Just(Writer::site("alice")), Just(Writer::site("bob"))];
    let site = prop::option::of(entries(site));
    let pending = prop::option::of(entries(Just(Writer::device("line-4"))));
    (site, pending)
        .prop_map(|(site, pending)| SharedValue::RemoteWins(RemoteRegister { site, pending }))
}

fn three_states() -> impl Strategy<Value = [SharedValue; 3]> {
    let three = |(a, b, c)| [a, b, c];
    prop_oneof![
        (lists(), lists(), lists()).prop_map(three),
        (registers(), registers(), registers()).prop_map(three),
        (remote_registers(), remote_registers(), remote_registers()).prop_map(three),
    ]
}

proptest! {
    #[test]
    fn a_merge_is_commutative_associative_and_idempotent([a, b, c] in three_states()) {
        let any = limits(a.rule(), 4, 20);
        let ab = merged(&a, &b, &any);
        prop_assert_eq!(&ab, &merged(&b, &a, &any));
        prop_assert_eq!(merged(&ab, &c, &any), merged(&a, &merged(&b, &c, &any), &any));
        prop_assert_eq!(&merged(&a, &a, &any), &a);
        prop_assert_eq!(&merged(&ab, &a, &any), &ab);
    }

    #[test]
    fn a_state_is_read_back_as_it_was_written([a, _, _] in three_states()) {
        let text = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<SharedValue>(&text).unwrap(), a);
    }
}
