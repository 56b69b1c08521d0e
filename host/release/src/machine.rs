//! The machine that figures were measured on.

use serde::Serialize;
use sysinfo::System;

/// The machine on which the figures were measured.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The model name of the processor.
    cpu: String,
    /// Number of hardware threads.
    cores: usize,
    /// Total memory.
    memory_mib: u64,
    /// The operating system and its version.
    os: String,
    /// Mean number of busy threads in the minute before.
    load: f64,
    /// How this program was compiled.
    profile: &'static str,
}

impl Machine {
    /// This machine, now. Values that it does not report are empty.
    pub fn here() -> Self {
        let system = System::new().ok().map(|mut system| {
            system.refresh_memory();
            system.refresh_cpu_all();
            system
        });
        let cpu = system.as_ref().and_then(|system| system.cpus().first());
        Self {
            cpu: cpu
                .map(|cpu| cpu.brand().trim().to_owned())
                .unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: system.as_ref().map_or(0, System::total_memory) >> 20,
            os: System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.to_owned()),
            load: System::load_average().map_or(0.0, |load| load.one),
            profile: if cfg!(debug_assertions) {
                "dev: opt-level 3, debug assertions"
            } else {
                "release"
            },
        }
    }

    /// One line of text.
    pub fn text(&self) -> String {
        format!(
            "{}, {} cores, {} MiB, {}, load {:.1}, {}",
            self.cpu, self.cores, self.memory_mib, self.os, self.load, self.profile
        )
    }
}
