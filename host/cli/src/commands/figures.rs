use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use hotshoe_config::FIGURES_OUTPUT;
use hotshoe_differential_privacy::{Figures, Kind};
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use serde::Serialize;
use serde_json::Value;

/// The quantiles of a histogram that are shown.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];
/// Longest line, in bytes: 16 MiB.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// Add up the private figures of devices
///
/// Reads the lines that `hotshoe collect --jsonl` writes, and adds the figures of [private-telemetry] with equal definitions over all windows
/// and devices. Each value has its noise: its deviation is beside it. Other lines are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe collect --site lab --jsonl collected --once --connect tcp/192.0.2.7:7447
  hotshoe figures collected/*.jsonl

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Args {
    /// Files of lines in JSON
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// A figure as it is shown.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    #[serde(flatten)]
    figures: &'a Figures,
    deviation: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quantiles: Vec<(&'static str, i64)>,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let mut sums = Vec::new();
    for path in &args.files {
        let file = hotshoe_base::files::open(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        add_all(BufReader::new(file), &mut sums)
            .with_context(|| format!("cannot use {}", path.display()))?;
    }
    let shown: Vec<Shown<'_>> = sums.iter().map(Shown::of).collect();
    if terminal.json {
        terminal.json(&shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    if shown.is_empty() {
        terminal.print("no figures")?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = shown.iter().map(|it| {
        vec![
            it.name.to_owned(),
            it.figures.windows().to_string(),
            it.value(),
            format!("{:.1}", it.deviation),
        ]
    });
    terminal.print(terminal.table(&["figure", "windows", "value", "deviation"], rows))?;
    Ok(ExitCode::SUCCESS)
}

impl<'a> Shown<'a> {
    fn of(figures: &'a Figures) -> Self {
        let quantiles = QUANTILES.into_iter();
        let quantiles = quantiles.filter_map(|(name, q)| Some((name, figures.quantile(q)?)));
        Self {
            name: figures.definition().name(),
            figures,
            deviation: figures.deviation(),
            quantiles: quantiles.collect(),
        }
    }

    fn value(&self) -> String {
        match self.figures.definition().kind() {
            Kind::Histogram { .. } => {
                let quantiles = self.quantiles.iter();
                let quantiles = quantiles.map(|(name, value)| format!("{name} {value}"));
                quantiles.collect::<Vec<_>>().join(", ")
            }
            Kind::Count | Kind::Sum { .. } => self
                .figures
                .cells()
                .first()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
        }
    }
}

/// Adds the figures in lines to those with equal definitions.
fn add_all(mut lines: impl BufRead, sums: &mut Vec<Figures>) -> anyhow::Result<()> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = (&mut lines)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        if read as u64 == MAX_LINE_BYTES {
            bail!("line {number} is longer than {MAX_LINE_BYTES} bytes");
        }
        let Ok(record) = serde_json::from_slice::<Value>(&line) else {
            bail!("line {number} is not JSON");
        };
        if record.get("source").and_then(Value::as_str) != Some(FIGURES_OUTPUT) {
            continue;
        }
        // A line without a payload is of a loss.
        let Some(payload) = record.get("payload").filter(|it| !it.is_null()) else {
            continue;
        };
        let figures = payload.get("figures").cloned().unwrap_or_default();
        let figures: Vec<Figures> = serde_json::from_value(figures)
            .with_context(|| format!("line {number} has no valid figures"))?;
        for figures in figures {
            let same = sums
                .iter_mut()
                .find(|sum| sum.definition() == figures.definition());
            match same {
                Some(sum) => sum.merge(&figures)?,
                None => sums.push(figures),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    fn line(name: &str, kind: &str, cells: &str) -> String {
        format!(
            "{{\"device\":\"a\",\"source\":\"figures\",\"payload\":{{\"until_ms\":1,\"seconds\":60,\"figures\":[\
             {{\"definition\":{{\"name\":\"{name}\",\"kind\":{kind},\"contributions\":1,\"epsilon\":100000}},\
             \"cells\":{cells},\"windows\":1}}]}}}}\n"
        )
    }

    #[test]
    fn equal_definitions_are_added_and_other_lines_left_out() {
        let histogram = "{\"histogram\":{\"edges\":[10,20]}}";
        let text = [
            line("people", "\"count\"", "[5]"),
            "{\"device\":\"a\",\"source\":\"insight\",\"payload\":{}}\n".to_owned(),
            line("people", "\"count\"", "[-2]"),
            line("wait", histogram, "[0,100,0]"),
            line("people", histogram, "[1,1,1]"),
        ]
        .concat();
        let mut sums = Vec::new();
        add_all(text.as_bytes(), &mut sums).unwrap();
        let cells: Vec<&[i64]> = sums.iter().map(Figures::cells).collect();
        assert_eq!(cells, [&[3][..], &[0, 100, 0], &[1, 1, 1]]);
        assert_eq!(sums[0].windows(), 2);
        assert_eq!(Shown::of(&sums[0]).value(), "3");
        // Between the edges, the value of least relative error: 2 * 10 * 20 / 30.
        assert_eq!(Shown::of(&sums[1]).value(), "p50 13, p90 13, p99 13");
    }

    #[test]
    fn lines_that_are_not_figures_are_named() {
        let wrong = line("people", "\"count\"", "[1,2]");
        for (text, said) in [
            ("{", "line 1 is not JSON"),
            (wrong.as_str(), "line 1 has no valid"),
        ] {
            let error = add_all(text.as_bytes(), &mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
