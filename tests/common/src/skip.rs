use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;

/// With `1`, a test that cannot run fails.
const REQUIRE: &str = "HOTSHOE_REQUIRE";
/// Needs that may be missing all the same, separated by commas.
const MAY_SKIP: &str = "HOTSHOE_MAY_SKIP";

/// What a test may need beyond the compiler, Python and what the set-up fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Files that pip or a registry of ours fetches.
    Fixtures,
    /// ONNX Runtime's library.
    OnnxRuntime,
    /// Packages of PyPI that the test installs.
    PythonPackages,
    /// A compiler that `hotshoe build` fetches.
    Compilers,
    /// The target `wasm32-wasip2` of rustc.
    Wasip2,
    /// Packages of Debian, which apt downloads without installing them.
    DebianPackages,
    /// Chromium and its driver.
    Browser,
    /// `unshare -rn`: a network namespace.
    NetworkNamespace,
    /// nftables with `numgen`, in the kernel.
    Nftables,
    /// A control group with a memory limit (version 1).
    ControlGroup,
    /// `ptrace`: a debugger that stops one thread.
    Ptrace,
    /// `systemd-analyze`.
    Systemd,
    /// `man`.
    Man,
}

impl Need {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Fixtures,
        Self::OnnxRuntime,
        Self::PythonPackages,
        Self::Compilers,
        Self::Wasip2,
        Self::DebianPackages,
        Self::Browser,
        Self::NetworkNamespace,
        Self::Nftables,
        Self::ControlGroup,
        Self::Ptrace,
        Self::Systemd,
        Self::Man,
    ];
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixtures => "fixtures",
            Self::OnnxRuntime => "onnx-runtime",
            Self::PythonPackages => "python-packages",
            Self::Compilers => "compilers",
            Self::Wasip2 => "wasip2",
            Self::DebianPackages => "debian-packages",
            Self::Browser => "browser",
            Self::NetworkNamespace => "network-namespace",
            Self::Nftables => "nftables",
            Self::ControlGroup => "control-group",
            Self::Ptrace => "ptrace",
            Self::Systemd => "systemd",
            Self::Man => "man",
        })
    }
}

/// Says that the test of this thread does not run, past the test runner's capture. The caller returns.
///
/// # Panics
/// Under `HOTSHOE_REQUIRE=1`, unless `HOTSHOE_MAY_SKIP` names the need.
#[track_caller]
pub fn skip(need: Need, reason: &str) {
    let require = std::env::var(REQUIRE).is_ok_and(|value| value == "1");
    let may_skip = std::env::var(MAY_SKIP).unwrap_or_default();
    let may_skip = may_skip_list(&may_skip);
    assert!(
        !require || may_skip.contains(&need.to_string()),
        "this machine lacks `{need}`, and {REQUIRE}=1 ({MAY_SKIP}={need} allows it): {reason}"
    );
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    writeln!(std::io::stderr(), "skipped: {test}: {need}: {reason}").expect("standard error");
}

fn may_skip_list(text: &str) -> BTreeSet<String> {
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let names: BTreeSet<String> = names.map(str::to_owned).collect();
    let known: BTreeSet<String> = Need::ALL.iter().map(Need::to_string).collect();
    let unknown: Vec<_> = names.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "{MAY_SKIP} has {unknown:?}; there are {known:?}"
    );
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_that_may_be_missing_are_listed_by_name() {
        assert_eq!(may_skip_list("").len(), 0);
        let all = Need::ALL.map(|need| need.to_string()).join(", ");
        assert_eq!(may_skip_list(&all).len(), Need::ALL.len());
    }

    #[test]
    #[should_panic(expected = "netem")]
    fn a_name_that_is_no_need_is_refused() {
        may_skip_list("nftables,netem");
    }
}
