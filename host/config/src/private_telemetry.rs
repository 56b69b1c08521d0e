//! `[private-telemetry]`: figures of many samples that do not show whether a contributor was there.

use std::collections::BTreeMap;
use std::time::Duration;

use hotshoe_differential_privacy::{Definition, Epsilon, Kind};
use serde::{Deserialize, Serialize};

use crate::OutboxConfig;
use crate::error::ConfigError;

/// The source in the outbox that figures are records of.
pub const FIGURES_OUTPUT: &str = "figures";
/// Most figures of a device.
pub const MAX_FIGURES: usize = 16;
/// The shortest window, in seconds.
const LEAST_WINDOW_S: u64 = 60;
/// The longest window, in seconds: the time that a budget is for.
const DAY_S: u64 = 24 * 3_600;
/// Default of `percent`.
const PERCENT: u8 = 5;

/// `[private-telemetry]`: counts, sums and histograms of the results in a window, with noise (0094). They are records of the outbox, of the class
/// `aggregate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PrivateTelemetryConfig {
    /// Length of a window, in seconds. Default: 3600; 60 to 86400.
    #[serde(default = "default_window_s")]
    pub window_s: u64,
    /// The privacy loss of all figures of a day together, in equal parts for each figure of each window. Smaller is more private, and has more
    /// noise. Default: 1; at most 10.
    #[serde(default = "default_epsilon")]
    pub epsilon_per_day: f64,
    /// The field of an insight whose texts say who contributes to the sample, such as `lines.*.text`. The figures do not show whether one of
    /// them was there. Each counts once a sample, and samples without it do not count. Default: the source of the sample.
    #[serde(default)]
    pub contributor: Option<ContributorField>,
    /// The figures, by name. At most 16.
    pub figures: BTreeMap<String, FigureConfig>,
}

/// A field of an insight that may say who contributes to a sample. There is none for positions in a list: who is removed makes room for the
/// next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContributorField {
    /// The labels of detections.
    #[serde(rename = "detections.*.label")]
    Detections,
    /// The lines of a text.
    #[serde(rename = "lines.*.text")]
    Lines,
    /// The names of scalars.
    #[serde(rename = "scalars.*.name")]
    Scalars,
}

/// `[private-telemetry.figures.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FigureConfig {
    /// What is made of the samples of a window.
    pub kind: FigureKind,
    /// What is measured on each sample: `count(FIELD)`, `mean(FIELD)`, `min(FIELD)` or `max(FIELD)` of its insight, or `latency-us`. A sample without it does not
    /// count. Not with `contributor`: several share a sample, and each would show in the values of the others. Default: 1 for each sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What values are multiplied by before they are rounded to integers. Default: 1.
    #[serde(default = "default_scale")]
    pub scale: u32,
    /// Most samples of one contributor that count in a window. More of them need more noise. Default: 1.
    #[serde(default = "default_contributions")]
    pub contributions: u32,
    /// The smallest value that counts; smaller ones count as this. For `sum` and `sketch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowest: Option<i64>,
    /// The greatest value that counts. For `sum` and `sketch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest: Option<i64>,
    /// The edges between the cells, ascending. For `histogram`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edges: Option<Vec<i64>>,
    /// The relative error of quantiles, in percent. For `sketch`. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

/// What is made of the samples of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FigureKind {
    /// Their number.
    Count,
    /// The sum of their values.
    Sum,
    /// The numbers of values between edges.
    Histogram,
    /// A histogram whose edges grow by a factor, for quantiles.
    Sketch,
}

const fn default_window_s() -> u64 {
    3_600
}

const fn default_epsilon() -> f64 {
    1.0
}

const fn default_scale() -> u32 {
    1
}

const fn default_contributions() -> u32 {
    1
}

impl PrivateTelemetryConfig {
    /// `window-s` as a duration.
    pub const fn window(&self) -> Duration {
        Duration::from_secs(self.window_s)
    }

    /// The budget of a day.
    ///
    /// # Errors
    /// [`ConfigError::Epsilon`]
    pub fn epsilon(&self) -> Result<Epsilon, ConfigError> {
        let millionths = self.millionths();
        Epsilon::from_millionths(millionths).map_err(|_| self.bad_epsilon())
    }

    /// The figures, in the order of their names. Each costs the same.
    ///
    /// # Errors
    /// [`ConfigError`], which names the figure.
    pub fn definitions(&self) -> Result<Vec<(&FigureConfig, Definition)>, ConfigError> {
        let parts = (self.figures.len() as u64).saturating_mul(DAY_S);
        let cost = u128::from(self.millionths()) * u128::from(self.window_s);
        let cost = cost.checked_div(parts.into()).unwrap_or_default();
        let epsilon = u64::try_from(cost).unwrap_or(u64::MAX);
        let epsilon = Epsilon::from_millionths(epsilon).map_err(|_| self.bad_epsilon())?;
        let figures = self.figures.iter();
        figures
            .map(|(name, figure)| Ok((figure, figure.definition(name, epsilon)?)))
            .collect()
    }

    fn bad_epsilon(&self) -> ConfigError {
        ConfigError::Epsilon {
            figures: self.figures.len(),
            window_s: self.window_s,
        }
    }

    fn millionths(&self) -> u64 {
        let millionths = (self.epsilon_per_day * 1e6).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to what a budget may be; what is not a number is 0, which is refused"
        )]
        let millionths = millionths.clamp(0.0, 1e9) as u64;
        millionths
    }

    pub(crate) fn check(&self, outbox: &OutboxConfig) -> Result<(), ConfigError> {
        super::check_range(
            "private-telemetry.window-s",
            self.window_s,
            LEAST_WINDOW_S,
            DAY_S,
        )?;
        super::check_range(
            "number of private-telemetry.figures",
            self.figures.len() as u64,
            1,
            MAX_FIGURES as u64,
        )?;
        if !outbox.is_enabled() {
            return Err(ConfigError::Needs {
                key: "private-telemetry.figures",
                needed: "outbox.enabled",
            });
        }
        self.epsilon()?;
        self.definitions().map(drop)
    }
}

impl FigureConfig {
    fn definition(&self, name: &str, epsilon: Epsilon) -> Result<Definition, ConfigError> {
        let needs = |key| ConfigError::FigureNeeds {
            figure: name.to_owned(),
            key,
        };
        let lowest = || self.lowest.ok_or_else(|| needs("lowest"));
        let highest = || self.highest.ok_or_else(|| needs("highest"));
        let made = match self.kind {
            FigureKind::Count => Definition::new(name, Kind::Count, self.contributions, epsilon),
            FigureKind::Sum => {
                let (lowest, highest) = (lowest()?, highest()?);
                let kind = Kind::Sum { lowest, highest };
                Definition::new(name, kind, self.contributions, epsilon)
            }
            FigureKind::Histogram => {
                let edges = self.edges.clone().ok_or_else(|| needs("edges"))?;
                Definition::new(name, Kind::Histogram { edges }, self.contributions, epsilon)
            }
            FigureKind::Sketch => {
                let of = |value: i64| u32::try_from(value.max(1)).unwrap_or(u32::MAX);
                let range = (of(lowest()?), of(highest()?));
                let percent = self.percent.unwrap_or(PERCENT);
                Definition::sketch(name, range, percent, self.contributions, epsilon)
            }
        };
        made.map_err(|source| ConfigError::Figure {
            figure: name.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::Path;

    use crate::Config;

    const OUTBOX: &str = "[outbox]\nenabled = true\n";

    fn parse(figures: &str) -> Result<Config, String> {
        let text = format!("site = \"lab\"\ndevice = \"line-4\"\n{figures}");
        Config::parse(&text, Path::new("/etc")).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", source.unwrap_or_default())
        })
    }

    #[test]
    fn the_budget_of_a_day_is_divided_among_windows_and_figures() {
        let text = format!(
            "{OUTBOX}[private-telemetry]\nepsilon-per-day = 4.8\n\
             [private-telemetry.figures.people]\nkind = \"count\"\n\
             [private-telemetry.figures.wait]\nkind = \"sketch\"\nvalue = \"latency-us\"\n\
             lowest = 100\nhighest = 1000000\n"
        );
        let telemetry = parse(&text).unwrap().private_telemetry.unwrap();
        assert_eq!(telemetry.epsilon().unwrap().millionths(), 4_800_000);
        let definitions = telemetry.definitions().unwrap();
        assert_eq!(definitions.len(), 2);
        for (_, definition) in definitions {
            // 4.8 for 24 windows of 2 figures.
            assert_eq!(definition.epsilon().millionths(), 100_000);
        }
    }

    #[test]
    fn a_contributor_is_a_text_of_an_insight() {
        let of = |field: &str| {
            parse(&format!(
                "{OUTBOX}[private-telemetry]\ncontributor = \"{field}\"\n\
                 [private-telemetry.figures.people]\nkind = \"count\"\n"
            ))
        };
        for field in ["detections.*.label", "lines.*.text", "scalars.*.name"] {
            let telemetry = of(field).unwrap().private_telemetry.unwrap();
            let written = serde_json::to_value(telemetry.contributor).unwrap();
            assert_eq!(written, field);
        }
        for (field, near) in [
            ("detections.*.track", "detections.*.label"),
            ("detections.0.label", "detections.*.label"),
            ("scalars.*.value", "scalars.*.name"),
        ] {
            let error = of(field).err().unwrap();
            // Which one is wrong, and what can be written.
            assert!(error.contains(field), "{error}");
            let way_out = format!("did you mean `{near}`?");
            assert!(error.contains(&way_out), "{error}");
        }
    }

    #[test]
    fn figures_that_cannot_be_published_are_named() {
        let count = "[private-telemetry.figures.people]\nkind = \"count\"\n";
        for (text, named) in [
            (format!("[private-telemetry]\n{count}"), "outbox.enabled"),
            (
                format!("{OUTBOX}[private-telemetry]\nwindow-s = 59\n{count}"),
                "window-s",
            ),
            (
                format!("{OUTBOX}[private-telemetry]\nepsilon-per-day = 0.0\n{count}"),
                "epsilon-per-day",
            ),
            (
                format!("{OUTBOX}[private-telemetry]\nepsilon-per-day = 11.0\n{count}"),
                "epsilon-per-day",
            ),
            (
                // A millionth for 1,440 windows.
                format!(
                    "{OUTBOX}[private-telemetry]\nwindow-s = 60\nepsilon-per-day = 0.000001\n{count}"
                ),
                "epsilon-per-day",
            ),
            (
                format!("{OUTBOX}[private-telemetry.figures.wait]\nkind = \"sum\"\nlowest = 0\n"),
                "highest",
            ),
            (
                format!(
                    "{OUTBOX}[private-telemetry.figures.wait]\nkind = \"histogram\"\nedges = [2, 1]\n"
                ),
                "edges",
            ),
            (
                format!("{OUTBOX}[private-telemetry]\nfigures = {{}}\n"),
                "figures",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
