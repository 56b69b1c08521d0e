//! Resource limits of one component, and the lifetime of its instances.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Resource limits of one component. A limit of an instance applies to each instance; see [`InstanceMode`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Linear memory of one instance, in MiB. Default 64.
    pub memory_mib: u32,
    /// Wall time of one call, in milliseconds. Default 1000.
    pub deadline_ms: u32,
    /// Instructions of one call, as wasmtime counts fuel. Default: not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Calls that one instance serves before a new one replaces it. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
    /// Host tensors and images that one instance holds at once, in MiB. Default 256.
    pub tensor_mib: u32,
    /// Elements of all tables of one instance. Default 65 536.
    pub table_elements: u32,
    /// Core module instances within one instance. Default 64.
    pub instances: u32,
    /// Lines in the log within one second, over all instances, each of at most 4 KiB. Default 100.
    pub log_lines: u32,
    /// Keys and values that all instances keep through the `state` import, in KiB. Default 1024.
    pub state_kib: u32,
    /// Host tensors and images that one instance holds at once; four times as many handles of any kind. Default 1024.
    pub handles: u32,
    /// Size of the result of one call (an insight, actions or the names of tensors) in the host's memory, in KiB. Default 8192.
    pub output_kib: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_mib: 64,
            deadline_ms: 1000,
            fuel: None,
            calls: None,
            tensor_mib: 256,
            table_elements: 65_536,
            instances: 64,
            log_lines: 100,
            state_kib: 1024,
            handles: 1024,
            output_kib: 8192,
        }
    }
}

/// Upper bounds of the limits of any component: `[limits]` of a `hotshoe.toml`. A limit that is left out is bounded by
/// [`crate::ReleaseLimits`] alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LimitBounds {
    /// Of `memory-mib`. Default: any.
    pub memory_mib: Option<u32>,
    /// Of `deadline-ms`. Default: any.
    pub deadline_ms: Option<u32>,
    /// Of `tensor-mib`. Default: any.
    pub tensor_mib: Option<u32>,
    /// Of `table-elements`. Default: any.
    pub table_elements: Option<u32>,
    /// Of `instances`. Default: any.
    pub instances: Option<u32>,
    /// Of `log-lines`. Default: any.
    pub log_lines: Option<u32>,
    /// Of `state-kib`. Default: any.
    pub state_kib: Option<u32>,
    /// Of `handles`. Default: any.
    pub handles: Option<u32>,
    /// Of `output-kib`. Default: any.
    pub output_kib: Option<u32>,
}

impl LimitBounds {
    /// The first limit above its bound: its key, its value and the bound.
    pub fn exceeded(&self, limits: &Limits) -> Option<(&'static str, u32, u32)> {
        let pairs = [
            ("memory-mib", limits.memory_mib, self.memory_mib),
            ("deadline-ms", limits.deadline_ms, self.deadline_ms),
            ("tensor-mib", limits.tensor_mib, self.tensor_mib),
            ("table-elements", limits.table_elements, self.table_elements),
            ("instances", limits.instances, self.instances),
            ("log-lines", limits.log_lines, self.log_lines),
            ("state-kib", limits.state_kib, self.state_kib),
            ("handles", limits.handles, self.handles),
            ("output-kib", limits.output_kib, self.output_kib),
        ];
        pairs.into_iter().find_map(|(key, asked, most)| {
            let most = most.filter(|most| asked > *most)?;
            Some((key, asked, most))
        })
    }
}

/// Lifetime of an instance of a component, and the calls that it serves. It decides whether memory carries over between samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceMode {
    /// Each call has its own instance, which ends with the call. No memory carries over.
    PerCall,
    /// Each source of samples has its own instance, on all workers. Samples of one source run one after the other. When there are too
    /// many sources, the least recently used instances end.
    PerSource,
    /// Each worker has its own instance, which serves all samples of that worker.
    #[default]
    Shared,
}

impl InstanceMode {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks for a reference"
    )]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for InstanceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerCall => "per-call",
            Self::PerSource => "per-source",
            Self::Shared => "shared",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_may_give_less_than_a_release_asks_for() {
        let limits = Limits::default();
        assert_eq!(LimitBounds::default().exceeded(&limits), None);
        let bounds = LimitBounds {
            memory_mib: Some(limits.memory_mib),
            handles: Some(limits.handles - 1),
            ..LimitBounds::default()
        };
        let exceeded = bounds.exceeded(&limits);
        assert_eq!(exceeded, Some(("handles", 1024, 1023)));
    }
}
