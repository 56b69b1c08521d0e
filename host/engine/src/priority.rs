use std::io;

/// Increase of the nice value of a low-priority thread. With 10 it gets about a tenth of a fully used core, so that an update makes slow
/// progress on a busy device.
const NICE_STEPS: i32 = 10;

/// Lowers the priority of the calling thread permanently, so that work for the next release does not slow down serving. An
/// unprivileged thread cannot raise it again. Does nothing on systems other than Linux, where priorities apply to processes.
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
