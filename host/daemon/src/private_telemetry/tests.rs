#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::path::Path;
use std::time::SystemTime;

use hotshoe_base::VirtualClock;
use hotshoe_differential_privacy::Figures;
use hotshoe_egress::HashKeys;
use hotshoe_engine::Scalar;
use hotshoe_trust::{DataBounds, EffectiveContract};

use super::*;

/// The greatest budget, so that noise is rare: a cell differs from its count with a probability of about 2 e^-ε.
const FIGURES: &str = "site = \"lab\"\ndevice = \"line-4\"\n[outbox]\nenabled = true\n\
     [private-telemetry]\nwindow-s = 86400\nepsilon-per-day = 10.0\n";

fn telemetry(more: &str) -> Result<PrivateTelemetry, PrivateTelemetryError> {
    let config = Config::parse(&format!("{FIGURES}{more}"), Path::new("/etc")).unwrap();
    PrivateTelemetry::new(&config.private_telemetry.unwrap())
}

fn classifier(clock: &Clock) -> Classifier {
    let bounds = DataBounds::default();
    let keys = HashKeys::new(
        HashKeys::secret_of(b"test"),
        bounds.hash_period_s(),
        clock.clone(),
    );
    Classifier::new(EffectiveContract::of(None, &bounds), None, keys)
}

fn insight(value: f64) -> Insight {
    Insight::Scalars {
        scalars: vec![Scalar {
            name: "level".to_owned(),
            value,
            unit: String::new(),
        }],
    }
}

fn published(telemetry: &PrivateTelemetry) -> Vec<Figures> {
    let folder = tempfile::tempdir().unwrap();
    let time = VirtualClock::at(SystemTime::UNIX_EPOCH);
    let boot = Boot {
        id: "one".to_owned(),
        uptime: Duration::ZERO,
    };
    let limit = hotshoe_differential_privacy::Epsilon::from_millionths(10_000_000).unwrap();
    let disk = Disk::new(Faults::never());
    let mut budget = Budget::open(folder.path(), disk, time.clock(), boot, limit).unwrap();
    publish(telemetry.end(), &mut budget, &mut Noise::system()).unwrap()
}

#[test]
fn each_source_counts_as_often_as_it_may_and_values_are_scaled() {
    let telemetry = telemetry(
        "[private-telemetry.figures.level]\nkind = \"histogram\"\nvalue = \"mean(scalars.*.value)\"\n\
         scale = 100\nedges = [50, 100]\ncontributions = 3\n",
    )
    .unwrap();
    let time = VirtualClock::at(SystemTime::UNIX_EPOCH);
    let classifier = classifier(&time.clock());
    // 200 sources, each with four samples, of which three count.
    for source in 0..200 {
        for _ in 0..4 {
            let source = format!("camera-{source}");
            telemetry.take(&classifier, &insight(0.75), &[], &source);
        }
    }
    let figures = published(&telemetry);
    let cells = figures[0].cells();
    // The scale of the noise is 2 * 3 / 10, so 20 of it is far beyond chance.
    assert!((cells[1] - 600).abs() < 20, "{cells:?}");
    assert!(cells[0].abs() < 20 && cells[2].abs() < 20, "{cells:?}");
    // The next windows are empty.
    let figures = published(&telemetry);
    assert!(figures[0].cells().iter().all(|cell| cell.abs() < 20));
}

const COUNT: &str = "[private-telemetry.figures.people]\nkind = \"count\"\n";

fn by_name() -> PrivateTelemetry {
    telemetry(&format!("contributor = \"scalars.*.name\"\n{COUNT}")).unwrap()
}

fn named(names: impl IntoIterator<Item = String>) -> Insight {
    let scalar = |name| Scalar {
        name,
        value: 1.0,
        unit: String::new(),
    };
    Insight::Scalars {
        scalars: names.into_iter().map(scalar).collect(),
    }
}

#[test]
fn samples_without_their_contributor_do_not_count() {
    let telemetry = by_name();
    let time = VirtualClock::at(SystemTime::UNIX_EPOCH);
    let classifier = classifier(&time.clock());
    for person in 0..100 {
        for _ in 0..3 {
            let insight = named([format!("person-{person}")]);
            telemetry.take(&classifier, &insight, &[], "camera");
        }
    }
    // The number of samples in which there was nobody would show who was there.
    telemetry.take(&classifier, &named([]), &[], "camera");
    assert_eq!(telemetry.status().samples_without_contributor, 0);
    // An insight of this kind never has the field.
    let other = Insight::Embedding { values: vec![1.0] };
    for _ in 0..50 {
        telemetry.take(&classifier, &other, &[], "camera");
    }
    assert_eq!(telemetry.status().samples_without_contributor, 50);
    let count = published(&telemetry)[0].cells()[0];
    assert!((count - 100).abs() < 10, "{count}");
}

#[test]
fn one_contributor_takes_no_place_of_another_in_a_sample() {
    let time = VirtualClock::at(SystemTime::UNIX_EPOCH);
    let classifier = classifier(&time.clock());
    // One that is in the sample 256 times, and 200 that follow.
    for first in [256, 0] {
        let telemetry = by_name();
        let first = (0..first).map(|_| "first".to_owned());
        let others = (0..200).map(|person| format!("person-{person}"));
        telemetry.take(&classifier, &named(first.chain(others)), &[], "camera");
        let count = published(&telemetry)[0].cells()[0];
        assert!((count - 200).abs() < 10, "{count}");
    }
}

#[test]
fn several_records_of_one_contributor_in_a_sample_are_one() {
    let insight = named((0..3).map(|_| "first".to_owned()));
    let found = contributors(&insight, ContributorField::Scalars).unwrap();
    assert_eq!(found, BTreeSet::from(["first"]));
}

#[test]
fn a_value_of_the_whole_sample_is_not_added_for_each_contributor() {
    // A and B in one sample: without A, its record is gone and that of B in another cell, a distance of 3 where the noise is for 2.
    for value in ["count(detections)", "latency-us"] {
        let error = telemetry(&format!(
            "contributor = \"detections.*.label\"\n\
             [private-telemetry.figures.crowd]\nkind = \"histogram\"\nvalue = \"{value}\"\nedges = [2]\n"
        ))
        .err()
        .unwrap();
        assert_eq!(error.name(), "figure_value_of_several");
        assert!(error.to_string().contains("figures.crowd.value"));
    }
}

#[test]
fn each_window_costs_its_share_and_a_restart_gives_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    // Two windows a day, of one figure: each costs a half.
    let text = "site = \"lab\"\ndevice = \"line-4\"\n[outbox]\nenabled = true\n\
         [private-telemetry]\nwindow-s = 43200\n[private-telemetry.figures.samples]\nkind = \"count\"\n";
    let config = Config::parse(text, folder.path()).unwrap();
    std::fs::create_dir(&config.data).unwrap();
    let file = config.data.join(hotshoe_differential_privacy::BUDGET_FILE);
    let spent = || -> Option<u64> {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
        json["state"]["spent_millionths"].as_u64()
    };
    let start = |time: &VirtualClock| {
        let telemetry = PrivateTelemetry::new(config.private_telemetry.as_ref().unwrap());
        let telemetry = Arc::new(telemetry.unwrap());
        let supervisor = Supervisor::timed_by(time.clock());
        PrivateTelemetryThread::start(&config, &telemetry, None, &supervisor).unwrap()
    };
    let window = Duration::from_secs(43_200);
    let published = |time: &VirtualClock, expected| {
        time.await_waiting(1);
        time.advance(window);
        hotshoe_tests::until("a window is published", || spent() == Some(expected));
    };
    let time = VirtualClock::at(SystemTime::UNIX_EPOCH);
    let first = start(&time);
    assert_eq!(spent(), None);
    published(&time, 500_000);
    drop(first);
    // A clock that was set back, and a process that knows nothing of the one before.
    let time = VirtualClock::at(SystemTime::UNIX_EPOCH);
    let second = start(&time);
    published(&time, 1_000_000);
    // The next day.
    published(&time, 500_000);
    drop(second);
}

#[test]
fn a_figure_of_what_is_not_a_number_is_named() {
    for (value, name) in [
        ("label(text)", "figure_not_a_number"),
        ("brightness(@sample)", "figure_not_a_number"),
        ("median(text)", "figure_not_measurable"),
    ] {
        let error = telemetry(&format!(
            "[private-telemetry.figures.x]\nkind = \"count\"\nvalue = \"{value}\"\n"
        ))
        .err()
        .unwrap();
        assert_eq!(error.name(), name, "{value}");
    }
}
