//! `[compile]`: resource limits of compiling a component on this device.

use hotshoe_engine::{
    CompileLimits, MAX_COMPILE_MEMORY_MIB, MAX_CPU_SECONDS, MIN_COMPILE_MEMORY_MIB,
};
use serde::{Deserialize, Serialize};

use super::check_range;
use crate::error::ConfigError;

/// `[compile]`. Each component is compiled once, in a separate process with these limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CompileConfig {
    /// Memory, in MiB. Default: three quarters of this machine's memory, or of the limit of its control group; at most 4096.
    pub memory_mib: u64,
    /// Processor time of all its threads together, in seconds. Default: 1800.
    pub cpu_seconds: u64,
}

impl Default for CompileConfig {
    fn default() -> Self {
        let CompileLimits {
            memory_mib,
            cpu_seconds,
        } = CompileLimits::default();
        Self {
            memory_mib,
            cpu_seconds,
        }
    }
}

impl CompileConfig {
    /// The limits for the engine.
    pub const fn limits(&self) -> CompileLimits {
        CompileLimits {
            memory_mib: self.memory_mib,
            cpu_seconds: self.cpu_seconds,
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check_range(
            "compile.memory-mib",
            self.memory_mib,
            MIN_COMPILE_MEMORY_MIB,
            MAX_COMPILE_MEMORY_MIB,
        )?;
        check_range("compile.cpu-seconds", self.cpu_seconds, 1, MAX_CPU_SECONDS)
    }
}
