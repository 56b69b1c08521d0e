//! File descriptors: how many the process may have, and who may have how many of them.
//!
//! Every connection takes one. So that no door starves another, nor files and the control socket, the doors' limits together stay
//! below what the system allows; see [`share`].

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{Config, LEAST_PENDING, PENDING_SHARE, ZenohConfig};

/// Most that are asked for: what starts other programs closes all of its own first, and a limit of a thousand million makes that slow.
const ENOUGH: u64 = 1 << 16;
/// What the daemon holds with nobody connected: threads' wake-ups, listeners, the data folder, models; 37 were counted.
const AT_REST: usize = 44;
/// What stays for files, callers of the control socket and programs that are started.
const FILES: usize = 256;
/// The least that each door and Zenoh have, however few there are.
const LEAST: usize = 2;

/// Raises how many file descriptors this process may have, as far as it may itself, and says how many that are.
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

/// Raises the limit of file descriptors, and lowers what connections may take together until it lies below, with a warning.
pub fn fit(config: &mut Config) {
    let mut doors = Vec::new();
    doors.extend(config.oip.as_mut().map(|oip| &mut oip.max_connections));
    doors.extend(config.metrics.as_mut().map(|it| &mut it.max_connections));
    lower(raise(), &mut config.zenoh, &mut doors);
}

/// The same for a process with Zenoh alone.
pub fn fit_session(zenoh: &mut ZenohConfig) {
    lower(raise(), zenoh, &mut []);
}

fn lower(limit: usize, zenoh: &mut ZenohConfig, doors: &mut [&mut usize]) {
    let mut asked = vec![zenoh.max_sessions.saturating_add(zenoh.accept_pending())];
    asked.extend(doors.iter().map(|most| **most));
    let given = share(limit, &asked);
    if given == asked {
        return;
    }
    let mut parts = given.into_iter();
    if let Some(part) = parts.next().filter(|part| Some(part) < asked.first()) {
        // Some of Zenoh's are for those that are still being taken in.
        let pending = part.div_ceil(PENDING_SHARE + 1).max(LEAST_PENDING);
        zenoh.max_sessions = part.saturating_sub(pending).max(1);
    }
    for (most, part) in doors.iter_mut().zip(parts) {
        **most = part;
    }
    tracing::warn!(
        limit,
        max_sessions = zenoh.max_sessions,
        max_connections = ?doors,
        "this process may have too few file descriptors for its connections, so that `zenoh.max-sessions` and `max-connections` of its \
         doors are lowered; raise `ulimit -n`, or LimitNOFILE of systemd"
    );
}

/// What each may take of `limit`, so that the rest keeps enough: what was asked for, or an equal part for those that ask for more.
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
