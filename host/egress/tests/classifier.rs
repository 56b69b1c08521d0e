//! What a classifier lets leave, by the class of each output.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::time::UNIX_EPOCH;

use hotshoe_base::VirtualClock;
use hotshoe_egress::{Answer, Classifier, Egress, HASH_BYTES, HashKeys, Head, Refused, WITHHELD};
use hotshoe_engine::{Action, Insight, Point, Scalar, Severity, TextLine};
use hotshoe_trust::{
    DEFAULT_CLASS, DataBounds, DataClass, DataContract, EffectiveContract, OutputName, RecordKind,
    toml_file,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const MARKER: &str = "Anna";
const HEAD: Head<'static> = Head {
    id: "1",
    source: "camera",
    timestamp_us: 7,
    release: None,
};
const STAGES: [(); 0] = [];

/// A classifier whose every output has the class of these keys.
fn classifier(class: &str) -> Classifier {
    let class: DataClass = toml_file::parse(class).unwrap();
    let mut release = release();
    let classes = &mut release.data_contract.classes;
    classes.insert(DEFAULT_CLASS.to_owned(), class);
    of(&release)
}

fn of(release: &hotshoe_trust::Release) -> Classifier {
    let contract = EffectiveContract::of(Some(release), &DataBounds::default());
    let keys = HashKeys::new([7; 32], 100, VirtualClock::at(UNIX_EPOCH).clock());
    Classifier::new(contract, Some(release), keys)
}

/// A stage `read` and a policy `tell`, which sends under `told`.
fn release() -> hotshoe_trust::Release {
    let blob = json!({ "digest": format!("sha256:{}", "0".repeat(64)), "size": 1 });
    let value = json!({
        "name": "r", "generation": 1, "hotshoe": "*",
        "issued": "2026-01-01T00:00:00Z", "expires": "2027-01-01T00:00:00Z",
        "components": {
            "read": { "blob": blob, "world": "stage" },
            "tell": { "blob": blob, "world": "policy", "topics": ["told"] },
        },
        "pipeline": [{ "stage": { "component": "read" } }, { "policy": { "component": "tell" } }],
    });
    serde_json::from_value(value).unwrap()
}

fn lines() -> Insight {
    let line = |text: &str| TextLine {
        text: text.to_owned(),
        score: 0.5,
        outline: [Point { x: 0.0, y: 0.0 }; 4],
    };
    Insight::Text {
        lines: vec![line(MARKER), line("Bert"), line(MARKER)],
    }
}

fn actions() -> Vec<Action> {
    vec![
        Action::Publish,
        Action::Alert {
            severity: Severity::Warning,
            message: MARKER.to_owned(),
        },
        Action::Send {
            topic: "told".to_owned(),
            content_type: MARKER.to_owned(),
            payload: MARKER.into(),
        },
    ]
}

fn body(egress: &Egress) -> Value {
    serde_json::from_slice(egress.bytes()).unwrap()
}

fn answer(classifier: &Classifier) -> Value {
    let (insight, actions) = (lines(), actions());
    body(&classifier.answer(Answer {
        head: HEAD,
        insight: Some(&insight),
        actions: &actions,
        stages: &STAGES,
    }))
}

#[test]
fn what_may_leave_leaves_as_it_is() {
    let open = classifier("upload = \"yes\"");
    let insight = open.insight(HEAD, &lines(), &STAGES).unwrap();
    assert_eq!(insight.content_type(), "application/json");
    assert_eq!(insight.class().name, DEFAULT_CLASS);
    let expected = json!({
        "id": "1", "source": "camera", "timestamp_us": 7, "release": null,
        "insight": serde_json::to_value(lines()).unwrap(), "stages": [],
    });
    assert_eq!(body(&insight), expected);
    let custom = open.custom("told", "text/plain", b"x").unwrap();
    assert_eq!(
        (custom.content_type(), custom.bytes()),
        ("text/plain", &b"x"[..])
    );
    let action = open.action(HEAD, &actions()[1]).unwrap();
    assert_eq!(body(&action)["action"]["message"], MARKER);
    let error = open.error(HEAD, "read", "trap", MARKER);
    assert_eq!(body(&error)["message"], MARKER);
    let answered = answer(&open);
    let sent = json!({ "action": "send", "topic": "told", "content_type": MARKER, "bytes": 4 });
    assert_eq!(answered["actions"][2], sent);
    assert_eq!(answered.get("kept_back"), None);
    assert_eq!(open.recorded_actions(&actions()).len(), 3);
    for kind in RecordKind::ALL {
        open.may_record(kind).unwrap();
        assert_eq!(open.recorded(kind, vec![1, 2]).unwrap().bytes(), [1, 2]);
    }
}

#[test]
fn what_never_leaves_is_refused_by_name() {
    for (upload, name) in [
        ("never", "class_never_leaves"),
        ("aggregate", "class_only_counts"),
    ] {
        let strict = classifier(&format!("upload = \"{upload}\""));
        let refused = |output: &str, result: Result<Egress, Refused>| {
            let refused = result.unwrap_err();
            assert_eq!((refused.name(), refused.output()), (name, output));
            assert_eq!(refused.class(), DEFAULT_CLASS);
            assert!(!refused.to_string().contains(MARKER));
        };
        refused("insight", strict.insight(HEAD, &lines(), &STAGES));
        refused("action", strict.action(HEAD, &actions()[1]));
        refused("topic:told", strict.custom("told", MARKER, b"x"));
        refused("topic:other", strict.custom("other", MARKER, b"x"));
        refused("recording", strict.recorded_insight(&lines()));
        refused("recording", strict.recorded(RecordKind::Sample, vec![1]));
        for kind in RecordKind::ALL {
            assert!(strict.may_record(kind).is_err(), "{kind}");
        }
        assert_eq!(
            strict.recorded_actions(&actions()),
            [json!({ "action": "publish" })]
        );

        let answered = answer(&strict);
        assert_eq!(answered["insight"], Value::Null);
        assert_eq!(answered["actions"], json!([{ "action": "publish" }]));
        let kept = json!({ "insight": name, "action": name, "topic:told": name });
        assert_eq!(answered["kept_back"], kept);
        assert!(!answered.to_string().contains(MARKER));
    }
}

#[test]
fn an_error_keeps_the_names_of_its_stage_and_fault() {
    for upload in ["never", "aggregate", "anonymised"] {
        let strict = classifier(&format!("upload = \"{upload}\""));
        for stage in ["read", "tell"] {
            let error = body(&strict.error(HEAD, stage, "invalid_input", MARKER));
            assert_eq!(error["stage"], stage);
            assert_eq!(error["fault"], "invalid_input");
            assert_eq!(error["message"], WITHHELD);
        }
        // The host's own words have nothing of a component.
        let dropped = body(&strict.error(HEAD, "queue", "queue_full", "the queue is full"));
        assert_eq!(dropped["message"], "the queue is full");
    }
}

#[test]
fn an_anonymised_insight_lacks_some_fields_and_hashes_others() {
    let class = "upload = \"anonymised\"\ndrop = [\"lines.*.outline\", \"no.such.field\"]\nhash = [\"lines.*.text\", \"lines.*.score\"]";
    let classifier = classifier(class);
    let message = body(&classifier.insight(HEAD, &lines(), &STAGES).unwrap());
    assert!(!message.to_string().contains(MARKER));
    let found = message["insight"]["lines"].as_array().unwrap();
    assert_eq!(found.len(), 3);
    for line in found {
        let fields = line.as_object().unwrap();
        assert_eq!(fields.len(), 2);
        assert!(fields["score"].is_string());
        assert_eq!(line["text"].as_str().unwrap().len(), 2 * HASH_BYTES);
    }
    assert_eq!(found[0], found[2]);
    assert_ne!(found[0]["text"], found[1]["text"]);
    assert_eq!(message["insight"]["kind"], "text");

    let action = body(&classifier.action(HEAD, &actions()[1]).unwrap());
    assert_eq!(action["action"]["severity"], "warning");
    assert_eq!(action["action"]["message"], WITHHELD);
    let custom = classifier.custom("told", "text/plain", b"x").unwrap_err();
    assert_eq!(custom.name(), "class_not_anonymisable");
    let sample = classifier
        .recorded(RecordKind::Sample, vec![1])
        .unwrap_err();
    assert_eq!(sample.name(), "class_not_anonymisable");
    let recorded = classifier.recorded_insight(&lines()).unwrap();
    assert_eq!(body(&recorded)["lines"], message["insight"]["lines"]);
    assert!(!answer(&classifier).to_string().contains(MARKER));
}

#[test]
fn a_topic_is_as_strict_as_what_its_policy_reads() {
    let mut release = release();
    let text = "outputs = { insight = \"people\", \"topic:told\" = \"open\", action = \"open\" }\n[classes.open]\nupload = \"yes\"\n[classes.people]\nupload = \"never\"\n";
    release.data_contract = toml_file::parse::<DataContract>(text).unwrap();
    let topic = OutputName::Topic("told".to_owned());
    assert_eq!(release.data_contract.outputs[&topic], "open");
    let classifier = of(&release);
    let refused = classifier.custom("told", "text/plain", b"x").unwrap_err();
    assert_eq!(refused.class(), "people");
    assert_eq!(
        classifier.action(HEAD, &actions()[1]).unwrap_err().class(),
        "people"
    );
}

#[test]
fn a_part_keeps_its_class() {
    let open = classifier("upload = \"yes\"");
    let whole = open.recorded(RecordKind::Tensors, vec![1, 2, 3]).unwrap();
    let part = whole.part(1..3).unwrap();
    assert_eq!(part.bytes(), [2, 3]);
    assert_eq!(part.class(), whole.class());
    assert!(whole.part(2..4).is_none());
}

proptest! {
    #[test]
    fn no_field_that_is_dropped_or_hashed_is_left(names in prop::collection::vec("[a-z]{1,8}", 1..8)) {
        let class = "upload = \"anonymised\"\nhash = [\"scalars.*.name\"]\ndrop = [\"*.*.unit\"]";
        let scalars = names.iter().map(|name| Scalar {
            name: format!("person {name}"),
            value: 1.0,
            unit: format!("unit {name}"),
        });
        let insight = Insight::Scalars { scalars: scalars.collect() };
        let message = classifier(class).insight(HEAD, &insight, &STAGES).unwrap();
        let text = String::from_utf8(message.into_bytes()).unwrap();
        prop_assert!(!text.contains("person ") && !text.contains("unit"), "{}", text);
    }
}

#[test]
fn what_is_averaged_lacks_what_its_class_drops_and_never_is_never() {
    let of = |class: &str| classifier(class).averaged(&lines());
    let whole = serde_json::to_value(lines()).unwrap();
    assert_eq!(of("upload = \"yes\"").unwrap(), whole);
    assert_eq!(of("upload = \"aggregate\"").unwrap(), whole);
    let strict =
        of("upload = \"anonymised\"\ndrop = [\"lines.*.outline\"]\nhash = [\"lines.*.score\"]");
    for line in strict.unwrap()["lines"].as_array().unwrap() {
        assert!(line.get("outline").is_none() && line["score"].is_string());
    }
    let refused = of("upload = \"never\"").unwrap_err();
    assert_eq!(
        (refused.name(), refused.output()),
        ("class_never_leaves", "insight")
    );
}
