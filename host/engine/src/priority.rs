use std::io;

/// How far a low-priority thread steps back. With ten steps it gets about a tenth of a core that others want in full: an
/// update goes on, slowly, on a device that has nothing to spare.
const NICE_STEPS: i32 = 10;

/// Lowers the priority of the calling thread for good, so that work for the next release takes what serving leaves over. An
/// unprivileged thread cannot raise it again. Other systems than Linux count priorities by process: there it does nothing.
///
/// # Errors
/// What the system says.
pub fn low_priority() -> io::Result<()> {
    if cfg!(target_os = "linux") {
        rustix::process::nice(NICE_STEPS)?;
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::thread;

    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn only_the_calling_thread_steps_back() {
        let before = getpriority_process(None).unwrap();
        let there = thread::spawn(|| {
            low_priority().unwrap();
            getpriority_process(None).unwrap()
        });
        assert_eq!(there.join().unwrap(), (before + NICE_STEPS).min(19));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
