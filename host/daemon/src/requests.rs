//! What the daemon asks of the process that it runs in.

use std::fmt;

use parking_lot::Mutex;

/// What the daemon asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// To read the configuration again, and to apply it.
    Reload,
    /// To drain, and to ask the supervisor for a new start.
    Restart,
}

type Follow = Box<dyn Fn(Request) + Send>;

/// Requests on their way. Those that are made before the process follows them wait.
#[derive(Default)]
pub(crate) struct Requests(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: Vec<Request>,
    follow: Option<Follow>,
}

impl Requests {
    /// Makes a request.
    pub(crate) fn make(&self, request: Request) {
        let mut state = self.0.lock();
        match &state.follow {
            Some(follow) => follow(request),
            None => state.waiting.push(request),
        }
    }

    /// Follows the requests from now on, and those that wait.
    pub(crate) fn follow(&self, follow: impl Fn(Request) + Send + 'static) {
        let mut state = self.0.lock();
        state.waiting.drain(..).for_each(&follow);
        state.follow = Some(Box::new(follow));
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requests")
    }
}
