//! Limits of file descriptors: of the process, and of each kind of connection.
//!
//! Every connection takes one. The limits of all servers together stay below the limit of the system, so that none of them starves
//! the others, files or the control socket; see `share`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{Config, LEAST_PENDING, PENDING_SHARE, PageConfig, ZenohConfig};

/// Highest limit that is requested: programs that start others close all descriptors first, which is slow with a limit of 10^9.
const ENOUGH: u64 = 1 << 16;
/// Descriptors of an idle daemon: thread wake-ups, listeners, the data folder, models; 37 were counted.
const AT_REST: usize = 44;
/// Reserve for files, clients of the control socket and started programs.
const FILES: usize = 256;
/// Least limit of each server and of Zenoh.
const LEAST: usize = 2;

/// The least limit that a process with a Zenoh session needs: with fewer than 36, Zenoh panics.
pub const LEAST_DESCRIPTORS: usize = AT_REST;

/// This process may have too few file descriptors.
#[derive(Debug, thiserror::Error)]
#[error(
    "this process may have only {limit} file descriptors, and needs at least {LEAST_DESCRIPTORS}; raise `ulimit -n`, or LimitNOFILE of systemd"
)]
pub struct TooFewDescriptors {
    /// The limit of the system.
    pub limit: usize,
}

impl TooFewDescriptors {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        "too_few_descriptors"
    }
}

/// Raises the limit of file descriptors of this process as far as allowed, and refuses one that is too low for a session.
///
/// # Errors
/// [`TooFewDescriptors`]
pub fn require() -> Result<usize, TooFewDescriptors> {
    enough(raise())
}

fn enough(limit: usize) -> Result<usize, TooFewDescriptors> {
    if limit < LEAST_DESCRIPTORS {
        return Err(TooFewDescriptors { limit });
    }
    Ok(limit)
}

/// Raises the limit of file descriptors of this process as far as allowed, and returns it.
pub fn raise() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let before = limit.current.unwrap_or(u64::MAX);
    let most = limit.maximum.unwrap_or(u64::MAX).min(ENOUGH);
    if before >= most {
        return usize::try_from(before).unwrap_or(usize::MAX);
    }
    let raised = Rlimit {
        current: Some(most),
        maximum: limit.maximum,
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => most,
        Err(error) => {
            tracing::warn!(%error, limit = before, "the limit of file descriptors cannot be raised");
            before
        }
    };
    usize::try_from(now).unwrap_or(usize::MAX)
}

/// Raises the limit of file descriptors, and lowers the limits of connections until their sum fits, with a warning.
pub fn fit(config: &mut Config) {
    let mut servers = Vec::new();
    servers.extend(config.oip.as_mut().map(|oip| &mut oip.max_connections));
    servers.extend(config.page.as_mut().map(|page| &mut page.max_connections));
    servers.extend(config.metrics.as_mut().map(|it| &mut it.max_connections));
    lower(raise(), &mut config.zenoh, &mut servers);
}

/// The same for a registry.
pub fn fit_registry(zenoh: &mut ZenohConfig, page: Option<&mut PageConfig>) {
    let mut servers: Vec<_> = page
        .map(|page| &mut page.max_connections)
        .into_iter()
        .collect();
    lower(raise(), zenoh, &mut servers);
}

/// The same for a process with only Zenoh.
pub fn fit_session(zenoh: &mut ZenohConfig) {
    lower(raise(), zenoh, &mut []);
}

fn lower(limit: usize, zenoh: &mut ZenohConfig, servers: &mut [&mut usize]) {
    let mut asked = vec![zenoh.max_sessions.saturating_add(zenoh.accept_pending())];
    asked.extend(servers.iter().map(|most| **most));
    let given = share(limit, &asked);
    if given == asked {
        return;
    }
    let mut parts = given.into_iter();
    if let Some(part) = parts.next().filter(|part| Some(part) < asked.first()) {
        // Some of Zenoh's descriptors are for sessions that are being opened.
        let pending = part.div_ceil(PENDING_SHARE + 1).max(LEAST_PENDING);
        zenoh.max_sessions = part.saturating_sub(pending).max(1);
    }
    for (most, part) in servers.iter_mut().zip(parts) {
        **most = part;
    }
    tracing::warn!(
        limit,
        max_sessions = zenoh.max_sessions,
        max_connections = ?servers,
        "this process may have too few file descriptors for its connections, so that `zenoh.max-sessions` and `max-connections` of its \
         servers are lowered; raise `ulimit -n`, or LimitNOFILE of systemd"
    );
}

/// Splits `limit`: each gets what it asked for, or an equal part if it asked for more.
fn share(limit: usize, asked: &[usize]) -> Vec<usize> {
    let left = limit.saturating_sub(AT_REST);
    let mut left = left - FILES.min(left / 3);
    let mut order: Vec<(usize, usize)> = asked.iter().copied().enumerate().collect();
    order.sort_by_key(|(_, asked)| *asked);
    let (mut waiting, mut given) = (order.len(), asked.to_vec());
    for (index, asked) in order {
        let part = asked.min((left / waiting).max(LEAST));
        left = left.saturating_sub(part);
        waiting -= 1;
        if let Some(given) = given.get_mut(index) {
            *given = part;
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_the_rest_is_refused_with_both_numbers() {
        assert!(matches!(enough(44), Ok(44)));
        let refused = enough(35).map_err(|error| error.to_string());
        let said = refused.err().unwrap_or_default();
        assert!(
            said.contains("only 35") && said.contains("at least 44"),
            "{said}"
        );
    }

    #[test]
    fn what_fits_is_given_as_it_was_asked_for() {
        for limit in [1720, 65_536, usize::MAX] {
            assert_eq!(share(limit, &[1100, 256, 64]), [1100, 256, 64]);
        }
    }

    #[test]
    fn what_does_not_fit_is_lowered_and_leaves_room() {
        assert_eq!(share(1024, &[1100, 256, 64]), [404, 256, 64]);
        assert_eq!(share(256, &[1100, 256, 64]), [48, 47, 47]);
        assert_eq!(share(64, &[1100, 256, 64]), [5, 5, 4]);
        for limit in 64..1800 {
            let given = share(limit, &[1100, 256, 64]);
            let sum: usize = given.iter().sum();
            assert!(sum + AT_REST < limit, "{limit}: {given:?}");
        }
    }

    #[test]
    fn nobody_is_left_without_any() {
        for limit in 0..50 {
            assert_eq!(share(limit, &[1100, 256, 1]), [2, 2, 1], "{limit}");
        }
    }

    #[test]
    fn the_limits_of_a_configuration_are_lowered_once() {
        let mut config = ZenohConfig::default();
        let (mut oip, mut metrics) = (256, 64);
        lower(1024, &mut config, &mut [&mut oip, &mut metrics]);
        let lowered = (config.max_sessions, oip, metrics);
        assert_eq!(lowered, (367, 256, 64));
        lower(1024, &mut config, &mut [&mut oip, &mut metrics]);
        assert_eq!((config.max_sessions, oip, metrics), lowered);
    }
}
