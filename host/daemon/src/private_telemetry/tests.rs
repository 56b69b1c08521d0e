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

#[test]
fn samples_without_their_contributor_do_not_count() {
    let telemetry = telemetry(
        "contributor = \"scalars.*.unit\"\n\
         [private-telemetry.figures.people]\nkind = \"count\"\n",
    )
    .unwrap();
    let time = VirtualClock::at(SystemTime::UNIX_EPOCH);
    let classifier = classifier(&time.clock());
    for person in 0..100 {
        let Insight::Scalars { mut scalars } = insight(1.0) else {
            continue;
        };
        scalars[0].unit = format!("person-{person}");
        for _ in 0..3 {
            let insight = Insight::Scalars {
                scalars: scalars.clone(),
            };
            telemetry.take(&classifier, &insight, &[], "camera");
        }
    }
    telemetry.take(
        &classifier,
        &Insight::Scalars {
            scalars: Vec::new(),
        },
        &[],
        "camera",
    );
    let figures = published(&telemetry);
    let count = figures[0].cells()[0];
    assert!((count - 100).abs() < 10, "{count}");
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
