//! What the system limits: file descriptors, addresses, inotify, the length of a socket's path, and access modes.

use std::fs;
use std::path::Path;

use hotshoe_base::disk::wider_mode;
use hotshoe_config::Config;
use hotshoe_config::descriptors;
use hotshoe_daemon::control::{MAX_SOCKET_PATH, SOCKET};
use hotshoe_release::terminal::size;
use rustix::fs::inotify;
use rustix::process::{Resource, getrlimit};

use super::{Finding, State};

/// Fewer file descriptors than this lower the default limits of connections by much.
const FEW_DESCRIPTORS: usize = 256;
/// The addresses that the memories of components reserve with the fewest instances: 64, of 4 GiB each.
const POOL_BYTES: u64 = 256 << 30;

/// Checks the limits of this process, and of the configured device.
pub(super) fn limits(config: Option<&Config>) -> Vec<Finding> {
    let mut findings = vec![file_descriptors(descriptors::raise()), addresses()];
    if let Some(config) = config {
        findings.extend(config.watch.as_ref().map(|_| watches()));
        findings.push(socket(&config.data));
        findings.push(modes(config));
    }
    findings
}

fn file_descriptors(limit: usize) -> Finding {
    const WHAT: &str = "descriptors";
    let found = format!("this process may have {limit} file descriptors");
    let advice = "raise `ulimit -n`, or LimitNOFILE of systemd";
    if limit < descriptors::LEAST_DESCRIPTORS {
        let least = descriptors::LEAST_DESCRIPTORS;
        let found = format!("{found}; a daemon needs at least {least}");
        return Finding::bad(WHAT, State::Fail, found, advice);
    }
    if limit < FEW_DESCRIPTORS {
        let found = format!("{found}; the limits of connections will be lowered");
        return Finding::bad(WHAT, State::Warn, found, advice);
    }
    Finding::ok(WHAT, found)
}

fn addresses() -> Finding {
    const WHAT: &str = "addresses";
    match getrlimit(Resource::As).current {
        Some(limit) if limit < POOL_BYTES => Finding::bad(
            WHAT,
            State::Warn,
            format!(
                "RLIMIT_AS is {}; a memory pool for components needs {}, so they use a slower memory mode",
                size(limit),
                size(POOL_BYTES)
            ),
            "raise `ulimit -v`, or LimitAS= of systemd; the finding `engine` has the mode",
        ),
        Some(limit) => Finding::ok(WHAT, format!("RLIMIT_AS is {}", size(limit))),
        None => Finding::ok(WHAT, "RLIMIT_AS is not set"),
    }
}

/// Checks whether a watched folder could be watched now.
fn watches() -> Finding {
    const WHAT: &str = "inotify";
    let limit = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}"));
        text.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
    };
    let found = format!(
        "max_user_instances is {}, max_user_watches is {}",
        limit("max_user_instances"),
        limit("max_user_watches")
    );
    match inotify::init(inotify::CreateFlags::CLOEXEC) {
        Ok(_) => Finding::ok(WHAT, found),
        Err(error) => Finding::bad(
            WHAT,
            State::Fail,
            format!("the folder cannot be watched: {error}; {found}"),
            "other programs of this user use all instances: end one, or raise fs.inotify.max_user_instances with sysctl",
        ),
    }
}

/// Checks that the daemon's socket fits into the address of a socket, or that /proc offers a shorter way.
fn socket(data: &Path) -> Finding {
    const WHAT: &str = "socket";
    let bytes = data.join(SOCKET).as_os_str().len();
    let found = format!("the path of {SOCKET} has {bytes} bytes");
    if bytes <= MAX_SOCKET_PATH || Path::new("/proc/self/fd").is_dir() {
        return Finding::ok(WHAT, found);
    }
    Finding::bad(
        WHAT,
        State::Warn,
        format!("{found}; without /proc, at most {MAX_SOCKET_PATH} are allowed"),
        "choose a shorter `data`, or mount /proc: otherwise the daemon takes commands over Zenoh only",
    )
}

/// Checks that other users of the machine neither read the data folder, nor change the trusted keys.
fn modes(config: &Config) -> Finding {
    const WHAT: &str = "modes";
    let mut wide = Vec::new();
    for (path, bits) in [
        (config.data.clone(), 0o077),
        (config.data.join("ledger.json"), 0o077),
        (config.data.join("blobs"), 0o077),
        (config.data.join("device.key"), 0o077),
        (config.trust.clone(), 0o022),
    ] {
        if let Some(mode) = wider_mode(&path, bits) {
            wide.push(format!("{} has {mode:03o}", path.display()));
        }
    }
    if wide.is_empty() {
        return Finding::ok(
            WHAT,
            "only their owner can access the data folder and the keys",
        );
    }
    Finding::bad(
        WHAT,
        State::Warn,
        format!(
            "other users can read or change files that only the daemon should access: {}",
            wide.join(", ")
        ),
        "run `chmod go-w` on the file of trusted keys, and `chmod -R go-rwx` on the others",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn few_descriptors_are_told_apart_from_too_few() {
        assert_eq!(file_descriptors(43).state, State::Fail);
        assert_eq!(file_descriptors(44).state, State::Warn);
        assert_eq!(file_descriptors(255).state, State::Warn);
        assert_eq!(file_descriptors(256).state, State::Ok);
    }

    #[test]
    fn what_others_can_read_is_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let text = "site = \"lab\"\ndevice = \"a\"\n";
        let config = Config::parse(text, folder.path()).unwrap();
        assert_eq!(modes(&config).state, State::Ok);
        fs::create_dir(&config.data).unwrap();
        let set = |mode| fs::set_permissions(&config.data, fs::Permissions::from_mode(mode));
        set(0o700).unwrap();
        assert_eq!(modes(&config).state, State::Ok);
        set(0o750).unwrap();
        let found = modes(&config);
        assert_eq!(found.state, State::Warn);
        assert!(found.found.contains("has 750"), "{}", found.found);
    }
}
