//! Drift: whether what a pipeline sees and says still looks as it did when its baseline was made.
//!
//! Pure: no I/O and no clock. The parts, in the order of their use:
//!
//! 1. [`Source`] names one thing to measure on each sample, such as `mean(lines.*.score)` or `brightness(detect)`.
//! 2. [`measure`] takes the values of all sources from one sample: [`Measured`].
//! 3. [`BaselineBuilder`] makes a [`Baseline`] of many samples. Its file is packed into a release, and signed with it.
//! 4. [`Monitor`] compares windows of later samples with the baseline by the rules of `[drift]` of the release
//!    ([`hotshoe_trust::Drift`]), and gives a [`Verdict`] for each.
//!
//! ```
//! use hotshoe_drift::{BaselineBuilder, Baseline, Measured, Monitor, Source, TensorStatistics, measure};
//! use hotshoe_trust::Drift;
//! use std::time::Duration;
//!
//! let sources: Vec<Source> = vec!["mean(lines.*.score)".parse()?];
//! let insight = |score: f64| serde_json::json!({"kind": "text", "lines": [{"score": score}]});
//! let no_tensors = |_: &str, _: Option<&str>| None::<TensorStatistics>;
//! let score = |sample: u32| f64::from(sample * 37 % 100) / 1000.0 + 0.9;
//!
//! let mut builder = BaselineBuilder::new(sources)?;
//! for sample in 0..200 {
//!     let measured = measure(builder.sources(), &insight(score(sample)), no_tensors);
//!     builder.add(&measured);
//! }
//! let file = builder.finish()?.to_json();
//!
//! let baseline = Baseline::parse(&file)?;
//! let rules = Drift { window: 100, ..Drift::new("baseline.json".to_owned()) };
//! let mut monitor = Monitor::new(&baseline, &rules)?;
//! let mut verdicts = Vec::new();
//! for second in 0..200 {
//!     let measured = measure(monitor.sources(), &insight(score(second) - 0.05), no_tensors);
//!     verdicts.extend(monitor.add(&measured, Duration::from_secs(second.into())));
//! }
//! assert_eq!(verdicts.len(), 2);
//! assert!(verdicts[0].drifted && monitor.is_drifting());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod baseline;
mod builder;
mod embedding;
mod error;
mod kolmogorov_smirnov;
mod limits;
mod measure;
mod monitor;
mod page_hinkley;
mod psi;
mod rank;
mod source;
mod tensor;
mod verdict;
mod watched;

pub use baseline::{
    Baseline, BaselineSeries, Embeddings, Labels, MAX_BASELINE_BYTES, MAX_LABELS, MIN_VALUES,
    Numbers, Series,
};
pub use builder::BaselineBuilder;
pub use embedding::Gaussian;
pub use error::{BaselineError, MonitorError};
pub use kolmogorov_smirnov::{KolmogorovSmirnov, kolmogorov_smirnov};
pub use limits::{MAX_DIMENSIONS, MAX_SERIES, MAX_VALUES};
pub use measure::{MAX_LABEL_BYTES, MAX_LABELS_OF_SAMPLE, Measured, Value, measure};
pub use monitor::Monitor;
pub use page_hinkley::PageHinkley;
pub use psi::{BINS, Psi, cuts, psi};
pub use source::{MAX_SOURCE_BYTES, SAMPLE, Source, SourceError, Take, TensorStatistic};
pub use tensor::TensorStatistics;
pub use verdict::{Finding, SeriesVerdict, StateChange, Test, Verdict};
