mod error;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_base::files;
use hotshoe_config::Config;
use hotshoe_daemon::command::Command;
use hotshoe_daemon::control;
use hotshoe_trust::toml_file;
use serde::Serialize;
use serde_json::Value;

pub(crate) use error::PowerError;

use crate::fleet::local::CONFIG;
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;

/// Most bytes of a table.
const MAX_TABLE_BYTES: u64 = 64 << 10;
/// Most watts of a mode, and most watt-hours of a battery: far more than a device at the edge has.
const MOST: f64 = 1e6;
/// What is shown where a figure is missing.
const NOT_KNOWN: &str = "not known";

/// Estimate how long a battery lasts
///
/// For the modes of a release, by the power that this device took in each of them, or by a table.
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Example: a battery of 50 Wh
  hotshoe power estimate --capacity-wh 50"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Estimate(EstimateArgs),
}

/// Estimate how many hours a battery lasts in each mode
///
/// Divides the capacity by the watts of each mode. They are those that the daemon of this device measured while the mode was in force, or
/// those of a table. A mode without a figure is `not known`: the device has no sensor of energy, or has not run in that mode.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: by what the daemon on this machine measured
  hotshoe power estimate --capacity-wh 50
  hotshoe power estimate --capacity-wh 50 --data /var/lib/hotshoe --json

Example: by a table, one line for each mode, such as `full = 6.5`
  hotshoe power estimate --capacity-wh 50 --table watts.toml

With --json, `capacity_wh` and a list `modes` of `name`, `watts` and `hours`, which are null where they are not known. Exit codes: 0 for an
estimate, also if nothing is known; 1 if no daemon runs on this device (error `not_running`) or the table cannot be used; 2 for wrong
usage.")]
struct EstimateArgs {
    /// Capacity of the battery in watt-hours
    #[arg(long, value_name = "WH", value_parser = capacity)]
    capacity_wh: f64,
    /// The device's configuration [default: hotshoe.toml]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "table"])]
    config: Option<PathBuf>,
    /// The device's data folder, in place of its configuration
    #[arg(long, value_name = "DIR", conflicts_with = "table")]
    data: Option<PathBuf>,
    /// A table of watts by mode, in place of measured ones
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

/// How long a battery lasts.
#[derive(Debug, PartialEq, Serialize)]
struct Estimate {
    capacity_wh: f64,
    modes: Vec<ModeEstimate>,
}

/// The same in one mode.
#[derive(Debug, PartialEq, Serialize)]
struct ModeEstimate {
    name: String,
    watts: Option<f64>,
    hours: Option<f64>,
}

impl Estimate {
    fn new(capacity_wh: f64, watts: Vec<(String, Option<f64>)>) -> Self {
        let modes = watts.into_iter().map(|(name, watts)| {
            // A battery that is charged lasts for ever, and so does a sensor that says 0.
            let watts = watts.filter(|watts| *watts > 0.0);
            ModeEstimate {
                name,
                watts,
                hours: watts.map(|watts| capacity_wh / watts),
            }
        });
        Self {
            capacity_wh,
            modes: modes.collect(),
        }
    }
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let Action::Estimate(args) = args.action;
    let watts = match &args.table {
        Some(path) => of_table(path)?,
        None => measured(&data(&args)?)?,
    };
    let estimate = Estimate::new(args.capacity_wh, watts);
    if terminal.json {
        terminal.json(&estimate)?;
        return Ok(ExitCode::SUCCESS);
    }
    if estimate.modes.is_empty() {
        terminal.print(format!("{NOT_KNOWN}: the serving release has no modes"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let figure = |value: Option<f64>, unit: &str| {
        value.map_or_else(
            || NOT_KNOWN.to_owned(),
            |value| format!("{value:.1} {unit}"),
        )
    };
    let rows = estimate.modes.iter().map(|mode| {
        vec![
            mode.name.clone(),
            figure(mode.watts, "W"),
            figure(mode.hours, "h"),
        ]
    });
    terminal.print(terminal.figures(&["mode", "power", "time"], rows))?;
    Ok(ExitCode::SUCCESS)
}

/// The data folder of the device.
fn data(args: &EstimateArgs) -> anyhow::Result<PathBuf> {
    if let Some(data) = &args.data {
        return Ok(data.clone());
    }
    let path = args.config.as_deref().unwrap_or(Path::new(CONFIG));
    let config = Config::load(path)
        .with_context(|| format!("cannot use {}; give --data or --table", path.display()))?;
    Ok(config.data)
}

/// The watts of each mode by the status of the daemon, in the order of the modes.
fn measured(data: &Path) -> anyhow::Result<Vec<(String, Option<f64>)>> {
    let status = control::call(data, &Command::Status)?;
    Ok(modes_of(&status))
}

/// A daemon without a governor has no modes.
fn modes_of(status: &Value) -> Vec<(String, Option<f64>)> {
    let modes = status.pointer("/governor/modes").and_then(Value::as_array);
    let of = |mode: &Value| {
        let name = mode.get("name")?.as_str()?.to_owned();
        Some((name, mode.get("watts").and_then(Value::as_f64)))
    };
    modes.into_iter().flatten().filter_map(of).collect()
}

/// The watts of each mode by a table, in the order of the names.
fn of_table(path: &Path) -> anyhow::Result<Vec<(String, Option<f64>)>> {
    let text = files::read_text(path, MAX_TABLE_BYTES);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    let watts = watts_of(&text).with_context(|| format!("cannot use {}", path.display()))?;
    Ok(watts
        .into_iter()
        .map(|(name, it)| (name, Some(it)))
        .collect())
}

fn watts_of(text: &str) -> anyhow::Result<BTreeMap<String, f64>> {
    let watts: BTreeMap<String, f64> = toml_file::parse(text)?;
    if watts.is_empty() {
        return Err(PowerError::EmptyTable.into());
    }
    match watts.iter().find(|(_, watts)| !is_in_range(**watts)) {
        Some((mode, watts)) => Err(PowerError::WattsOutOfRange {
            mode: mode.clone(),
            watts: *watts,
            most: MOST,
        }
        .into()),
        None => Ok(watts),
    }
}

/// Parses a number of watt-hours.
fn capacity(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(capacity) if is_in_range(capacity) => Ok(capacity),
        _ => Err(format!(
            "expected watt-hours above 0 and at most {MOST}, such as 50"
        )),
    }
}

fn is_in_range(value: f64) -> bool {
    value > 0.0 && value <= MOST
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn hours_are_the_capacity_by_the_watts() {
        let watts = [
            ("full", Some(12.5)),
            ("minimal", Some(4.0)),
            ("least", None),
        ];
        let watts = watts.map(|(name, watts)| (name.to_owned(), watts));
        let estimate = Estimate::new(50.0, watts.to_vec());
        let hours: Vec<_> = estimate.modes.iter().map(|mode| mode.hours).collect();
        assert_eq!(hours, [Some(4.0), Some(12.5), None]);
        let none = Estimate::new(50.0, vec![("full".to_owned(), Some(0.0))]);
        assert_eq!((none.modes[0].watts, none.modes[0].hours), (None, None));
    }

    #[test]
    fn the_modes_of_a_status_keep_their_order_and_what_is_not_known() {
        let status = json!({"governor": {"modes": [
            {"name": "full", "level": 0, "watts": 5},
            {"name": "a-mode", "level": 1, "watts": null},
            {"name": "b-mode", "level": 2}
        ]}});
        let expected = [("full", Some(5.0)), ("a-mode", None), ("b-mode", None)];
        let expected = expected.map(|(name, watts)| (name.to_owned(), watts));
        assert_eq!(modes_of(&status), expected);
        assert_eq!(modes_of(&json!({})), []);
        assert_eq!(modes_of(&json!({"governor": null})), []);
    }

    #[test]
    fn a_table_has_watts_above_zero() {
        let watts = watts_of("full = 6.5\nminimal = 2\n").unwrap();
        assert_eq!(watts["full"], 6.5);
        assert_eq!(watts["minimal"], 2.0);
        let name = |text: &str| {
            let error = watts_of(text).unwrap_err();
            error.downcast_ref().map(PowerError::name)
        };
        assert_eq!(name(""), Some("empty_table"));
        for watts in ["0", "-1.0", "nan", "inf", "2e6"] {
            assert_eq!(
                name(&format!("full = {watts}")),
                Some("watts_out_of_range"),
                "{watts}"
            );
        }
        assert_eq!(name("full = \"much\""), None);
    }

    #[test]
    fn a_capacity_is_above_zero() {
        assert_eq!(capacity("50"), Ok(50.0));
        assert_eq!(capacity("0.5"), Ok(0.5));
        for text in ["0", "-1", "nan", "inf", "much", ""] {
            assert!(capacity(text).is_err(), "{text}");
        }
    }
}
