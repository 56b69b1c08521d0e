//! Drift of the serving release, as text.

use hotshoe_protocol::status::{DriftStatus, DriftValue, Status};
use hotshoe_release::terminal::Terminal;

/// Prints the part of the status about drift, if the release has a baseline.
pub(super) fn show(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let Some(drift) = &status.drift else {
        return Ok(());
    };
    let line = format!("drift     {}", state(drift));
    terminal.print(if drift.drifting {
        terminal.warning(&line)
    } else {
        line
    })?;
    for value in drift.values.iter().filter(|value| value.drifted) {
        terminal.print(terminal.warning(&format!("          {}", line_of(value))))?;
    }
    Ok(())
}

/// `none in 3 windows, 20 of 500 samples in the present one`
fn state(drift: &DriftStatus) -> String {
    let mut text = match drift.since {
        Some(since) => format!("since {since}"),
        None => "none".to_owned(),
    };
    text.push_str(&format!(
        " in {} windows, {} of {} samples in the present one",
        drift.windows, drift.samples, drift.window
    ));
    if drift.dropped > 0 {
        text.push_str(&format!(", {} not measured", drift.dropped));
    }
    text
}

/// `brightness(@sample): psi 3.10 of 0.25, ks 0.60 of 0.15`
fn line_of(value: &DriftValue) -> String {
    let drifted = value.statistics.iter().filter(|it| it.drifted);
    let found: Vec<String> = drifted
        .map(|it| format!("{} {:.2} of {:.2}", it.statistic, it.value, it.threshold))
        .collect();
    format!("{}: {}", value.value, found.join(", "))
}

#[cfg(test)]
mod tests {
    use hotshoe_protocol::status::DriftStatistic;
    use hotshoe_trust::Time;

    use super::*;

    #[test]
    fn a_line_says_since_when_and_a_value_by_how_much() {
        let mut drift = DriftStatus {
            windows: 3,
            samples: 20,
            window: 500,
            ..DriftStatus::default()
        };
        let quiet = "none in 3 windows, 20 of 500 samples in the present one";
        assert_eq!(state(&drift), quiet);
        drift.since = Some(Time::UNIX_EPOCH);
        drift.dropped = 2;
        let drifting = "since 1970-01-01T00:00:00Z in 3 windows, 20 of 500 samples in the present one, 2 not measured";
        assert_eq!(state(&drift), drifting);
        let statistic = |name: &str, value, drifted| DriftStatistic {
            statistic: name.to_owned(),
            value,
            threshold: 0.25,
            p_value: None,
            drifted,
        };
        let value = DriftValue {
            value: "count(lines)".to_owned(),
            samples: 500,
            drifted: true,
            statistics: vec![statistic("psi", 3.1, true), statistic("ks", 0.1, false)],
        };
        assert_eq!(line_of(&value), "count(lines): psi 3.10 of 0.25");
    }
}
