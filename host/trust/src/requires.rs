//! What the hardware of a device must have for a release.

use globset::Glob;
use serde::{Deserialize, Serialize};

/// What a release needs of the hardware. A device that lacks some of it refuses the release before it fetches any blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Requires {
    /// Globs; the hardware class must match one of them. Empty: any class.
    pub classes: Vec<String>,
    /// Globs; the architecture of the processor, as `aarch64`, must match one of them. Empty: any architecture.
    pub architectures: Vec<String>,
    /// Least number of cores. Default: 0.
    pub cores: u64,
    /// Least memory of the device as its system has it, in MiB, which is less than what is built in. Default: 0.
    pub memory_mib: u64,
}

/// The hardware of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// The board by its device tree, else the architecture.
    pub class: String,
    /// The architecture of the processor.
    pub architecture: String,
    /// Its cores.
    pub cores: u64,
    /// Its memory in MiB. `None` if that is not known.
    pub memory_mib: Option<u64>,
}

impl Requires {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What `hardware` lacks. `None` if it has everything.
    pub fn lacking(&self, hardware: &Hardware) -> Option<String> {
        let (class, architecture) = (&hardware.class, &hardware.architecture);
        if !is_one(&self.classes, class) {
            let classes = &self.classes;
            return Some(format!("its class `{class}` matches none of {classes:?}"));
        }
        if !is_one(&self.architectures, architecture) {
            let known = &self.architectures;
            return Some(format!(
                "its architecture `{architecture}` matches none of {known:?}"
            ));
        }
        let (has, needs) = (hardware.cores, self.cores);
        if has < needs {
            return Some(format!("it has {has} cores, not {needs}"));
        }
        let needs = self.memory_mib;
        match hardware.memory_mib {
            Some(has) if has < needs => Some(format!("it has {has} MiB of memory, not {needs}")),
            None if needs > 0 => Some(format!(
                "its memory is not known, and {needs} MiB are needed"
            )),
            _ => None,
        }
    }
}

/// Whether one of the globs matches, or there are none. `Release::validate` has checked them; an invalid one matches nothing.
fn is_one(globs: &[String], text: &str) -> bool {
    let fits = |glob: &String| Glob::new(glob).is_ok_and(|it| it.compile_matcher().is_match(text));
    globs.is_empty() || globs.iter().any(fits)
}
