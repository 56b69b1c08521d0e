//! `[data-contract]`: what it may say, how bounds make it stricter, and which class each output has.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::release;
use hotshoe_trust::{
    Access, DataBounds, DataClass, DataContract, DataContractError, DataPriority,
    EffectiveContract, FieldPath, Grant, MAX_CLASSES, MAX_FIELDS, OutputName, RecordKind, Release,
    ReleaseError, Retention, Sensitivity, StageFailure, Step, Upload, toml_file,
};
use proptest::prelude::*;

const TEXT: &str = r#"
record = ["insight"]
outputs = { insight = "people", "topic:count" = "counts", picture = "faces" }

[classes.people]
sensitivity = "personal"
upload = "anonymised"
retention = "30d"
drop = ["detections.*.label"]
hash = ["lines.*.text"]
durable = true
priority = "high"

[classes.counts]
upload = "yes"

[classes.faces]
upload = "never"
"#;

/// The release of a stage `read` and a policy `label` with this contract; `label` sends under `count`.
fn with(text: &str) -> Release {
    let mut release = release();
    let label = release.components.get_mut("label").unwrap();
    label.topics.insert("count".into());
    release.data_contract = toml_file::parse(text).unwrap();
    release
}

fn refused(release: &Release) -> DataContractError {
    match release.validate() {
        Err(ReleaseError::DataContract(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_contract_is_read_as_it_is_documented() {
    let release = with(TEXT);
    release.validate().unwrap();
    let people = &release.data_contract.classes["people"];
    assert_eq!(people.retention.unwrap().seconds(), 30 * 24 * 3_600);
    assert_eq!(people.priority, DataPriority::High);
    let counts = &release.data_contract.classes["counts"];
    assert_eq!(*counts, DataClass::default());
    // As JSON it is the same again, and a contract of before has the JSON of before.
    let json = serde_json::to_string(&release.data_contract).unwrap();
    let again: DataContract = serde_json::from_str(&json).unwrap();
    assert_eq!(again, release.data_contract);
    let old: DataContract = toml_file::parse("record = [\"sample\"]").unwrap();
    let json = serde_json::to_string(&old).unwrap();
    assert_eq!(json, "{\"record\":[\"sample\"]}");
}

#[test]
fn texts_that_make_no_sense_are_refused() {
    for (text, shown) in [
        ("[classes.a]\n", "upload"),
        ("[classes.a]\nupload = \"perhaps\"\n", "perhaps"),
        (
            "[classes.a]\nupload = \"yes\"\nretention = \"30s\"\n",
            "1m to 3650d",
        ),
        (
            "[classes.a]\nupload = \"yes\"\nretention = \"for ever\"\n",
            "for ever",
        ),
        ("[classes.a]\nupload = \"yes\"\ndrop = [\"a..b\"]\n", "a..b"),
        ("[classes.a]\nupload = \"yes\"\nhash = [\"a b\"]\n", "a b"),
        ("outputs = { pictures = \"a\" }\n", "pictures"),
        ("outputs = { \"topic:a/b\" = \"a\" }\n", "topic:a/b"),
        ("class = {}\n", "class"),
    ] {
        let error = toml_file::parse::<DataContract>(text).unwrap_err();
        let all = format!("{error:?}");
        assert!(all.contains(shown), "{text}: {all}");
    }
    let longest = ["a"; 9].join(".");
    assert!(FieldPath::try_from(longest).is_err());
    for (text, shown) in [("24h", "1d"), ("90m", "90m"), ("61m", "61m"), ("2d", "2d")] {
        assert_eq!(text.parse::<Retention>().unwrap().to_string(), shown);
    }
}

#[test]
fn a_contract_that_contradicts_itself_is_refused_by_name() {
    let no_class = refused(&with("outputs = { insight = \"people\" }\n"));
    assert!(
        no_class
            .to_string()
            .contains("[data-contract.classes.people]")
    );
    let no_topic = refused(&with(
        "outputs = { \"topic:else\" = \"a\" }\n[classes.a]\nupload = \"yes\"\n",
    ));
    let output = OutputName::Topic("else".to_owned());
    assert_eq!(no_topic, DataContractError::NoTopic { output });
    let class = "a".to_owned();
    let open = refused(&with("[classes.a]\nupload = \"yes\"\ndrop = [\"kind\"]\n"));
    let upload = Upload::Yes;
    assert_eq!(open, DataContractError::NotAnonymised { class, upload });

    let mut many = with("");
    for number in 0..=MAX_CLASSES {
        let class = DataClass::default();
        many.data_contract
            .classes
            .insert(format!("c{number}"), class);
    }
    assert!(matches!(
        refused(&many),
        DataContractError::Many { key: "classes", .. }
    ));
    let mut fields = with("[classes.a]\nupload = \"anonymised\"\n");
    let class = fields.data_contract.classes.get_mut("a").unwrap();
    class.drop = (0..=MAX_FIELDS)
        .map(|number| FieldPath::try_from(format!("f{number}")).unwrap())
        .collect();
    let count = MAX_FIELDS + 1;
    assert!(
        matches!(refused(&fields), DataContractError::Fields { key: "drop", count: found, .. } if found == count)
    );
    let named = refused(&with("[classes.\"A b\"]\nupload = \"yes\"\n"));
    assert!(matches!(named, DataContractError::Name { .. }));
}

#[test]
fn what_is_made_of_data_has_at_least_its_class() {
    let contract = EffectiveContract::of(Some(&with(TEXT)), &DataBounds::default());
    let name = |class: hotshoe_trust::NamedClass| (class.name, class.class.upload);
    let people = ("people".to_owned(), Upload::Anonymised);
    let faces = ("faces".to_owned(), Upload::Never);
    assert_eq!(name(contract.picture()), faces);
    // The signers name it, so that it need not be as strict as pictures.
    assert_eq!(name(contract.insight()), people);
    // Its own class is `counts`, and it reads insights.
    assert_eq!(name(contract.topic("count")), people);
    assert_eq!(name(contract.action()), people);
    assert_eq!(name(contract.recording(RecordKind::Sample)), faces);
    assert_eq!(name(contract.recording(RecordKind::Insight)), people);
    let text = |stage| contract.text(&OutputName::Error, stage).map(name);
    assert_eq!(text("read"), Some(faces.clone()));
    assert_eq!(text("label"), Some(people));
    assert_eq!(text("input"), Some(faces.clone()));
    assert_eq!(text("output"), Some(faces.clone()));
    assert_eq!(text("queue"), None);

    // An insight that has no class of its own has that of pictures.
    let unnamed = with("outputs = { picture = \"faces\" }\n[classes.faces]\nupload = \"never\"\n");
    let contract = EffectiveContract::of(Some(&unnamed), &DataBounds::default());
    assert_eq!(name(contract.insight()), faces);
    let open = EffectiveContract::of(Some(&release()), &DataBounds::default());
    let default = ("default".to_owned(), Upload::Yes);
    assert_eq!(name(open.topic("any")), default);
    assert_eq!(open.text(&OutputName::Log, "read").map(name), Some(default));
}

/// A policy called `input` or `output`, or as a model, must not make the texts of these looser, which quote samples and tensors.
#[test]
fn parts_of_one_name_have_the_strictest_class_of_what_they_read() {
    const CLASSES: &str = "outputs = { insight = \"counts\", picture = \"faces\" }\n[classes.counts]\nupload = \"yes\"\n[classes.faces]\nupload = \"never\"\n";
    let upload = |release: &Release, stage: &str| {
        let contract = EffectiveContract::of(Some(release), &DataBounds::default());
        let class = contract.text(&OutputName::Error, stage).unwrap();
        class.class.upload
    };
    let release = with(CLASSES);
    assert_eq!(upload(&release, "label"), Upload::Yes);
    for name in ["input", "output", "detect"] {
        let mut release = with(CLASSES);
        let policy = release.components.remove("label").unwrap();
        release.components.insert(name.into(), policy);
        let component = name.to_owned();
        release.pipeline = vec![
            Step::Infer {
                model: "detect".into(),
            },
            Step::Stage {
                component: "read".into(),
            },
            Step::Policy {
                component,
                on_failure: StageFailure::FailClosed,
            },
        ];
        assert_eq!(upload(&release, name), Upload::Never, "{name}");
        assert_eq!(upload(&release, "read"), Upload::Never, "{name}");
    }
}

#[test]
fn a_way_past_the_host_needs_data_that_may_leave() {
    type Change = fn(&mut hotshoe_trust::Component);
    let ways: [(Change, &str); 3] = [
        (
            |it| {
                it.grants.extend([Grant::Wasi, Grant::WasiSockets]);
                it.hosts.insert("a.example:443".parse().unwrap());
            },
            "wasi-sockets",
        ),
        (
            |it| {
                it.grants.extend([Grant::Wasi, Grant::WasiHttp]);
                it.hosts.insert("a.example:443".parse().unwrap());
            },
            "wasi-http",
        ),
        (
            |it| {
                it.grants.insert(Grant::Wasi);
                it.folders.insert("/out".into(), Access::Write);
            },
            "/out",
        ),
    ];
    for (change, shown) in ways {
        let mut release = with(TEXT);
        change(release.components.get_mut("label").unwrap());
        let DataContractError::WayOut {
            component,
            grant,
            class,
        } = refused(&release)
        else {
            panic!("{shown}");
        };
        assert_eq!((component.as_str(), class.as_str()), ("label", "people"));
        assert!(grant.contains(shown), "{grant}");
        // Without a contract it is as before, unless the operator says more.
        release.data_contract = DataContract::default();
        release.validate().unwrap();
        let bounds: DataBounds = toml_file::parse("max-upload = { internal = \"never\" }").unwrap();
        let bound = EffectiveContract::of(Some(&release), &bounds);
        assert!(bound.check_ways_out(&release).is_err(), "{shown}");
    }
    let mut reads = with(TEXT);
    let label = reads.components.get_mut("label").unwrap();
    label.grants.insert(Grant::Wasi);
    label.folders.insert("/models".into(), Access::Read);
    reads.validate().unwrap();
}

/// Whether a component passes the host by a grant. A new grant does not compile here without an answer; no other import of a component does
/// anything but read, and none writes blobs, files of neighbours or shared values.
const fn passes_the_host(grant: Grant) -> bool {
    match grant {
        // The host writes these, and drops them by their class.
        Grant::Log | Grant::Metrics => false,
        // Nothing gets out by a read. `wasi` writes lines of the log, and folders are granted by themselves.
        Grant::Clock | Grant::Config | Grant::Data | Grant::Vision | Grant::Wasi => false,
        Grant::Infer | Grant::WasiNn => false,
        // It stays in the data folder.
        Grant::State => false,
        Grant::WasiSockets | Grant::WasiHttp => true,
    }
}

#[test]
fn each_grant_is_held_by_the_host_or_refused() {
    let all = [
        Grant::Log,
        Grant::Metrics,
        Grant::Clock,
        Grant::Config,
        Grant::Data,
        Grant::Vision,
        Grant::Infer,
        Grant::WasiNn,
        Grant::Wasi,
        Grant::WasiSockets,
        Grant::WasiHttp,
        Grant::State,
    ];
    for grant in all {
        for component in ["read", "label"] {
            let mut release = with(TEXT);
            let it = release.components.get_mut(component).unwrap();
            it.grants = [grant].into();
            it.hosts.insert("a.example:443".parse().unwrap());
            let contract = EffectiveContract::of(Some(&release), &DataBounds::default());
            let refused = contract.check_ways_out(&release);
            assert_eq!(refused.is_err(), passes_the_host(grant), "{grant}");
        }
    }
}

#[test]
fn bounds_apply_by_sensitivity_and_by_class() {
    let bounds: DataBounds = toml_file::parse(
        "max-upload = { personal = \"aggregate\", \"class:counts\" = \"never\" }\nmax-retention = { personal = \"1d\" }\nhash-period = \"7d\"\n",
    )
    .unwrap();
    assert_eq!(bounds.hash_period_s(), 7 * 24 * 3_600);
    assert_eq!(DataBounds::default().hash_period_s(), 30 * 24 * 3_600);
    let contract = with(TEXT).data_contract;
    let people = bounds.bound("people", &contract.classes["people"]);
    assert_eq!(people.upload, Upload::Aggregate);
    assert_eq!(people.retention.unwrap().to_string(), "1d");
    // What a bound does not speak of stays.
    assert_eq!(people.sensitivity, Sensitivity::Personal);
    assert_eq!(people.priority, DataPriority::High);
    let counts = bounds.bound("counts", &contract.classes["counts"]);
    assert_eq!(counts.upload, Upload::Never);
    assert!(toml_file::parse::<DataBounds>("max-upload = { people = \"yes\" }").is_err());
}

fn class() -> impl Strategy<Value = DataClass> {
    let sensitivity = prop::sample::select(vec![
        Sensitivity::Public,
        Sensitivity::Internal,
        Sensitivity::Personal,
        Sensitivity::Secret,
    ]);
    let upload = upload();
    let retention =
        prop::option::of((1_u64..4_000).prop_map(|it| format!("{it}m").parse().unwrap()));
    let fields = || {
        let field = prop::sample::select(vec!["kind", "a.*", "b.c"]);
        let field = field.prop_map(|it| FieldPath::try_from(it.to_owned()).unwrap());
        prop::collection::btree_set(field, 0..3)
    };
    let priority = prop::sample::select(vec![
        DataPriority::Critical,
        DataPriority::High,
        DataPriority::Normal,
        DataPriority::Low,
    ]);
    let parts = (
        sensitivity,
        upload,
        retention,
        fields(),
        fields(),
        any::<bool>(),
        priority,
    );
    parts.prop_map(
        |(sensitivity, upload, retention, drop, hash, durable, priority)| DataClass {
            sensitivity,
            upload,
            retention,
            drop,
            hash,
            durable,
            priority,
        },
    )
}

fn upload() -> impl Strategy<Value = Upload> {
    prop::sample::select(vec![
        Upload::Never,
        Upload::Aggregate,
        Upload::Anonymised,
        Upload::Yes,
    ])
}

proptest! {
    #[test]
    fn the_stricter_of_two_classes_is_a_join(a in class(), b in class(), c in class()) {
        prop_assert_eq!(a.join(&a), a.clone());
        prop_assert_eq!(a.join(&b), b.join(&a));
        prop_assert_eq!(a.join(&b).join(&c), a.join(&b.join(&c)));
        // It is an upper bound of both: joining either again changes nothing.
        let both = a.join(&b);
        prop_assert_eq!(both.join(&a), both.clone());
        prop_assert_eq!(both.join(&b), both.clone());
        prop_assert!(both.upload <= a.upload && both.upload <= b.upload);
    }

    #[test]
    fn a_bound_never_makes_a_class_looser(a in class(), most in upload(), minutes in 1_u64..4_000) {
        let mut bounds = DataBounds::default();
        let selector = hotshoe_trust::DataSelector::Class("a".to_owned());
        bounds.max_upload.insert(selector.clone(), most);
        bounds.max_retention.insert(selector, format!("{minutes}m").parse().unwrap());
        let bound = bounds.bound("a", &a);
        prop_assert_eq!(a.join(&bound), bound.clone());
        prop_assert_eq!(bounds.bound("a", &bound), bound.clone());
        prop_assert_eq!(bound.upload, a.upload.min(most));
        prop_assert_eq!(bounds.bound("b", &a), a);
    }
}
