//! A policy on plain wasmtime: the baseline of the benchmarks of our instances and calls.

use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};

use crate::component::Component;
use crate::convert;
use crate::fault::{Failure, Fault};
use crate::host::bindings::exports::hotshoe::pipeline::decide;
use crate::host::bindings::hotshoe::pipeline::types;
use crate::insight::{DeviceContext, Insight};

/// A policy without limits, deadline or host state. Its imports trap.
pub struct BarePolicy {
    pre: InstancePre<()>,
    entry: decide::GuestIndices,
}

/// An instance of it, with converted arguments.
pub struct BareInstance {
    store: Store<()>,
    guest: decide::Guest,
    insight: types::Insight,
    device: decide::DeviceContext,
}

fn failure(error: &wasmtime::Error) -> Failure {
    Failure::new(Fault::Instantiation, format!("{error:#}"))
}

impl BarePolicy {
    /// The compiled code of `component`, in the same pool.
    ///
    /// # Errors
    /// [`Fault::Instantiation`], if it is not a policy.
    pub fn of(component: &Component) -> Result<Self, Failure> {
        let mut own = Linker::new(component.linked.pre.engine());
        let code = component.linked.pre.component();
        // A component reports a panic through an import, which a policy without panics does not call.
        own.define_unknown_imports_as_traps(code)
            .map_err(|error| failure(&error))?;
        let pre = own.instantiate_pre(code).map_err(|error| failure(&error))?;
        let entry = decide::GuestIndices::new(&pre).map_err(|error| failure(&error))?;
        Ok(Self { pre, entry })
    }

    /// wasmtime's own instantiation.
    ///
    /// # Errors
    /// [`Fault::Instantiation`], if the pool is full.
    pub fn instantiate(
        &self,
        insight: &Insight,
        device: &DeviceContext,
    ) -> Result<BareInstance, Failure> {
        let mut store = Store::new(self.pre.engine(), ());
        // Out of reach for any benchmark: compiled code checks the epoch in any case.
        store.set_epoch_deadline(u64::MAX / 2);
        let guest = self
            .pre
            .instantiate(&mut store)
            .and_then(|instance| self.entry.load(&mut store, &instance))
            .map_err(|error| failure(&error))?;
        Ok(BareInstance {
            store,
            guest,
            insight: convert::insight_to_guest(insight),
            device: convert::device_to_guest(device),
        })
    }
}

impl BareInstance {
    /// wasmtime's own typed call. Returns the number of actions.
    ///
    /// # Errors
    /// [`Fault::Trap`], if the policy traps or returns an error.
    pub fn decide(&mut self) -> Result<usize, Failure> {
        self.guest
            .call_decide(&mut self.store, &self.insight, &self.device)
            .map_err(|error| Failure::new(Fault::Trap, format!("{error:#}")))?
            .map(|actions| actions.len())
            .map_err(convert::failure_from_guest)
    }
}
