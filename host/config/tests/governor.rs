//! `[governor]`: defaults, every key, and mistakes that are named.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use hotshoe_config::{Config, ConfigError, GovernorConfig, GovernorOutput};

fn parse(governor: &str) -> Result<Config, ConfigError> {
    let text = format!("site = \"lab\"\ndevice = \"a\"\n{governor}");
    Config::parse(&text, Path::new("/etc/hotshoe"))
}

#[test]
fn it_is_on_by_default_and_drives_nothing() {
    let governor = parse("").unwrap().governor;
    assert_eq!(governor, GovernorConfig::default());
    assert!(governor.enabled && !governor.hibernate && governor.outputs.is_empty());
    assert_eq!(governor.sensors, Path::new("/"));
    assert_eq!(governor.period(), Duration::from_secs(1));
    assert_eq!(governor.deadline_ms, None);
}

#[test]
fn every_key_is_read_and_paths_are_relative_to_the_file() {
    let governor = parse(
        "[governor]\nenabled = false\nsensors = \"tree\"\nperiod-ms = 500\nleast-time-ms = 1\ncalm-ms = 2\n\
         most-changes-per-hour = 3\ndeadline-ms = 4\nhibernate = true\n\
         [governor.outputs.fan]\nfile = \"pwm1\"\n[governor.outputs.\"lamp.1\"]\nfile = \"/sys/lamp\"\noff = 255\nfull = 0\n",
    )
    .unwrap()
    .governor;
    let output = |file: &str, off, full| GovernorOutput {
        file: file.into(),
        off,
        full,
    };
    let expected = GovernorConfig {
        enabled: false,
        sensors: "/etc/hotshoe/tree".into(),
        period_ms: 500,
        least_time_ms: 1,
        calm_ms: 2,
        most_changes_per_hour: 3,
        deadline_ms: Some(4),
        hibernate: true,
        outputs: [
            ("fan".to_owned(), output("/etc/hotshoe/pwm1", 0, 255)),
            ("lamp.1".to_owned(), output("/sys/lamp", 255, 0)),
        ]
        .into(),
    };
    assert_eq!(governor, expected);
}

#[test]
fn mistakes_are_named() {
    let many: String = (0..17)
        .map(|it| format!("[governor.outputs.o{it}]\nfile = \"f\"\n"))
        .collect();
    for (text, named) in [
        ("[governor]\nperiod-ms = 0\n", "governor.period-ms"),
        ("[governor]\nperiod-ms = 60001\n", "governor.period-ms"),
        (
            "[governor]\nleast-time-ms = 3600001\n",
            "governor.least-time-ms",
        ),
        ("[governor]\ncalm-ms = 3600001\n", "governor.calm-ms"),
        (
            "[governor]\nmost-changes-per-hour = 0\n",
            "governor.most-changes-per-hour",
        ),
        ("[governor]\ndeadline-ms = 0\n", "governor.deadline-ms"),
        (
            "[governor.outputs.\"a fan\"]\nfile = \"f\"\n",
            "governor.outputs.\"a fan\"",
        ),
        (
            "[governor.outputs.\"\"]\nfile = \"f\"\n",
            "governor.outputs.\"\"",
        ),
        (many.as_str(), "governor.outputs"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(named), "{text}: {error}");
    }
    for (text, named) in [
        ("[governor]\nfan = 1\n", "fan"),
        ("[governor.outputs.fan]\noff = 1\n", "file"),
        ("[governor.outputs.fan]\nfile = \"f\"\noff = -1\n", "-1"),
    ] {
        let error = hotshoe_base::chain(&parse(text).unwrap_err());
        assert!(error.contains(named), "{text}: {error}");
    }
}
