//! `[log]`: the log of a daemon or a registry on standard error.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::check_range;
use crate::error::ConfigError;

/// Default of `filter`.
pub const DEFAULT_FILTER: &str = "info,zenoh=warn,tract=warn";

/// Largest `lines-per-second`.
pub const MAX_LINES_PER_SECOND: u32 = 1_000_000;

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LogConfig {
    /// The filter, as `info,zenoh=warn`: a level, and levels of targets. The environment variable `RUST_LOG` overrides it. Default:
    /// [`DEFAULT_FILTER`].
    pub filter: String,
    /// Rate limit per kind of line, in lines per second, with a burst of four times as many. All kinds together may have 40 times as
    /// many, and errors as many again. Dropped lines are counted, and their number is logged. Default: 5.
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
    /// Refuses values that are not valid.
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
/// Why the filter is not valid.
pub fn filter(directives: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(directives).map_err(|error| error.to_string())
}
