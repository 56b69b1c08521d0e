//! Ends a compilation from another thread.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

/// While it is raised, no component is compiled: the compilation that runs ends, and each later one is refused. Clones are the same.
#[derive(Clone, Default)]
pub struct CompileInterrupt {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// [`RaisedInterrupt`]s that are not dropped yet.
    raised: usize,
    /// Tells the compilation that runs.
    running: Option<Box<dyn Fn() + Send>>,
}

impl std::fmt::Debug for CompileInterrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CompileInterrupt")
            .field(&self.lock().raised)
            .finish()
    }
}

impl CompileInterrupt {
    /// Ends the compilation that runs, and refuses others until the returned value is dropped.
    #[must_use]
    pub fn raise(&self) -> RaisedInterrupt {
        let mut state = self.lock();
        state.raised += 1;
        if let Some(tell) = &state.running {
            tell();
        }
        RaisedInterrupt(self.clone())
    }

    /// Registers a compilation until the returned value is dropped. None while this is raised.
    pub(super) fn begin(&self, tell: impl Fn() + Send + 'static) -> Option<Running> {
        let mut state = self.lock();
        if state.raised > 0 {
            return None;
        }
        state.running = Some(Box::new(tell));
        Some(Running(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// An interrupt, until it is dropped.
#[derive(Debug)]
pub struct RaisedInterrupt(CompileInterrupt);

impl Drop for RaisedInterrupt {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.raised = state.raised.saturating_sub(1);
    }
}

/// A compilation that can be interrupted.
pub(super) struct Running(CompileInterrupt);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running = None;
    }
}
