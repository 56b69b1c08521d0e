//! `[log]`: what a daemon or a registry writes to standard error.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::check_range;
use crate::error::ConfigError;

/// What a daemon logs where nothing else is said.
pub const DEFAULT_FILTER: &str = "info,zenoh=warn,tract=warn";

/// Most that `lines-per-second` may be.
pub const MAX_LINES_PER_SECOND: u32 = 1_000_000;

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LogConfig {
    /// What is written, as `info,zenoh=warn`: a level, and levels of targets. The environment's `RUST_LOG` wins over it. Default:
    /// [`DEFAULT_FILTER`].
    pub filter: String,
    /// Lines of one kind that are written in a second, once four times as many have been written at once. All kinds together may have
    /// 40 times as many, and errors as many again. What is left out is counted, and the log says how much it was. Default: 5.
    pub lines_per_second: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            filter: DEFAULT_FILTER.to_owned(),
            lines_per_second: 5,
        }
    }
}

impl LogConfig {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Err(reason) = filter(&self.filter) {
            let filter = self.filter.clone();
            return Err(ConfigError::LogFilter { filter, reason });
        }
        check_range(
            "log.lines-per-second",
            self.lines_per_second.into(),
            1,
            MAX_LINES_PER_SECOND.into(),
        )
    }
}

/// Reads a filter, such as `info,zenoh=warn`.
///
/// # Errors
/// What is wrong with it.
pub fn filter(directives: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(directives).map_err(|error| error.to_string())
}
