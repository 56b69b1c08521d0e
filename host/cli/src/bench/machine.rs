use serde::Serialize;
use sysinfo::System;

/// What the figures were measured on.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The processor as it calls itself.
    cpu: String,
    /// Threads that run at once.
    cores: usize,
    /// All of it.
    memory_mib: u64,
    /// The operating system and its version.
    os: String,
    /// Mean number of busy threads in the minute before: what else went on.
    load: f64,
    /// How this program was compiled.
    profile: &'static str,
}

impl Machine {
    /// This one, now. What it does not tell is left empty.
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

    /// One line for people.
    pub fn text(&self) -> String {
        format!(
            "{}, {} cores, {} MiB, {}, load {:.1}, {}",
            self.cpu, self.cores, self.memory_mib, self.os, self.load, self.profile
        )
    }
}
