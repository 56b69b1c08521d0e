//! Description of the machine, on which measured times depend.

use std::fs;

use hotshoe_config::InferenceConfig;
use hotshoe_infer::ort_library;

/// Lines of `/proc/cpuinfo` that tell processors apart, on x86 and on ARM.
const CPU_KEYS: [&str; 4] = ["model name", "CPU implementer", "CPU part", "Hardware"];

/// This machine and its backends in one line. When it changes, choices are made again.
pub(super) fn machine(inference: &InferenceConfig) -> String {
    let options = inference.options();
    let library = ort_library(&options.ort);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut line = format!(
        "{}; {cores} cores; hotshoe {}; onnxruntime {}",
        processor(),
        env!("CARGO_PKG_VERSION"),
        library.version,
    );
    for provider in &options.ort.providers {
        line.push_str(&format!("; {} {:?}", provider.name, provider.options));
    }
    line
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut said: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some((key, value)) = line.split_once(':')
            && CPU_KEYS.contains(&key.trim())
            && !said.contains(&value.trim())
        {
            said.push(value.trim());
        }
    }
    if said.is_empty() {
        said.push(std::env::consts::ARCH);
    }
    said.join(" ")
}
