use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_infer::Tensor;
use wasmtime::Store;
use wasmtime::component::{Resource, ResourceTableError};

use crate::bindings::exports::hotshoe::pipeline as exports;
use crate::bindings::hotshoe::pipeline::tensors::NamedTensor;
use crate::bindings::hotshoe::pipeline::types;
use crate::call_end::CallEnd;
use crate::component::{Component, Entry};
use crate::convert;
use crate::engine::EPOCH_TICK;
use crate::fault::{ErrorCode, Failure, Fault};
use crate::host::State;
use crate::insight::{Action, DeviceContext, Insight};
use crate::limits::MAX_HANDLES;
use crate::sample::Sample;
use crate::vector;

/// Named tensors, in the order that the component or the model gave them.
pub(crate) type Tensors = Vec<(String, Tensor)>;

/// One worker's own instance of a component. It is kept from sample to sample, and replaced after a failure that leaves
/// it in an unknown state.
pub struct Instance {
    component: Arc<Component>,
    live: Option<Live>,
}

struct Live {
    store: Store<State>,
    guest: Guest,
}

enum Guest {
    Preprocess(exports::preprocess::Guest),
    Postprocess(exports::postprocess::Guest),
    Decide(exports::decide::Guest),
    Process(exports::process::Guest),
}

impl Instance {
    /// An instance of `component`, made at its first call.
    pub const fn new(component: Arc<Component>) -> Self {
        Self {
            component,
            live: None,
        }
    }

    /// The component's name in the release.
    pub fn name(&self) -> &str {
        self.component.name()
    }

    /// The models that the last calls ran through the `infer` import, with the time that each took, and forgets them.
    pub fn take_model_times(&mut self) -> Vec<(String, Duration)> {
        self.live
            .as_mut()
            .map(|live| std::mem::take(&mut live.store.data_mut().model_times))
            .unwrap_or_default()
    }

    /// Instantiates now what the first call would, so that the first sample need not wait for it.
    ///
    /// # Errors
    /// [`Fault::Instantiation`], or what the component's own start-up code did wrong.
    pub fn warm_up(&mut self) -> Result<(), Failure> {
        if self.live.is_none() {
            self.live = Some(instantiate(&self.component)?);
        }
        Ok(())
    }

    /// Runs a `preprocessor`: sample -> named tensors.
    ///
    /// # Errors
    /// The [`Failure`] that this sample ends with.
    pub fn prepare(&mut self, sample: &Sample) -> Result<Tensors, Failure> {
        self.call(|Live { store, guest }| {
            let Guest::Preprocess(guest) = guest else {
                return Err(wrong_world("preprocessor"));
            };
            let own = store.data_mut().table.push(sample.clone())?;
            let result = guest.call_prepare(&mut *store, Resource::new_borrow(own.rep()))?;
            store.data_mut().table.delete(own)?;
            Ok(match result {
                Ok(tensors) => Ok(take(store.data_mut(), tensors)?),
                Err(error) => Err(error),
            })
        })
    }

    /// Runs a `postprocessor`: named tensors + sample -> insight.
    ///
    /// # Errors
    /// The [`Failure`] that this sample ends with.
    pub fn interpret(&mut self, sample: &Sample, outputs: Tensors) -> Result<Insight, Failure> {
        self.call(|Live { store, guest }| {
            let Guest::Postprocess(guest) = guest else {
                return Err(wrong_world("postprocessor"));
            };
            let outputs = match store.data_mut().hold_tensors(outputs)? {
                Ok(outputs) => outputs,
                Err(error) => return Ok(Err(error)),
            };
            let own = store.data_mut().table.push(sample.clone())?;
            let result =
                guest.call_interpret(&mut *store, Resource::new_borrow(own.rep()), &outputs)?;
            store.data_mut().table.delete(own)?;
            Ok(result.and_then(convert::insight_from_guest))
        })
    }

    /// Runs a `stage`: sample -> insight.
    ///
    /// # Errors
    /// The [`Failure`] that this sample ends with.
    pub fn process(&mut self, sample: &Sample) -> Result<Insight, Failure> {
        self.call(|Live { store, guest }| {
            let Guest::Process(guest) = guest else {
                return Err(wrong_world("stage"));
            };
            let own = store.data_mut().table.push(sample.clone())?;
            let result = guest.call_process(&mut *store, Resource::new_borrow(own.rep()))?;
            store.data_mut().table.delete(own)?;
            Ok(result.and_then(convert::insight_from_guest))
        })
    }

    /// Runs a `policy`: insight + device context -> actions, in the order in which they are to be carried out.
    ///
    /// # Errors
    /// The [`Failure`] that this sample ends with.
    pub fn decide(
        &mut self,
        insight: &Insight,
        device: &DeviceContext,
    ) -> Result<Vec<Action>, Failure> {
        self.call(|Live { store, guest }| {
            let Guest::Decide(guest) = guest else {
                return Err(wrong_world("policy"));
            };
            let insight = convert::insight_to_guest(insight);
            let device = convert::device_to_guest(device);
            let result = guest.call_decide(&mut *store, &insight, &device)?;
            Ok(result.and_then(convert::actions_from_guest))
        })
    }

    fn call<T>(
        &mut self,
        run: impl FnOnce(&mut Live) -> wasmtime::Result<Result<T, types::Error>>,
    ) -> Result<T, Failure> {
        self.warm_up()?;
        let Some(live) = &mut self.live else {
            return Err(Failure::new(Fault::Instantiation, "no instance was made"));
        };
        vector::tidy();
        let result = arm(&mut live.store, &self.component)
            .and_then(|()| run(live))
            .map_err(|error| classify(&error, live.store.data(), &self.component))
            .and_then(|result| result.map_err(convert::failure_from_guest));
        let leaked = live.store.data().meter_refused;
        if let Err(failure) = &result
            && (failure.fault.ends_instance() || leaked)
        {
            self.live = None;
        }
        result
    }
}

fn instantiate(component: &Component) -> Result<Live, Failure> {
    let mut store = Store::new(
        component.pre.engine(),
        State::new(
            Arc::clone(&component.services),
            // Without the grant nothing can reach it.
            component.state.clone().unwrap_or_default(),
            &component.limits,
        ),
    );
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(mib(component.limits.tensor_mib));
    store.set_max_component_handles(MAX_HANDLES);
    let guest = arm(&mut store, component)
        .and_then(|()| component.pre.instantiate(&mut store))
        .and_then(|instance| {
            Ok(match &component.entry {
                Entry::Preprocess(at) => Guest::Preprocess(at.load(&mut store, &instance)?),
                Entry::Postprocess(at) => Guest::Postprocess(at.load(&mut store, &instance)?),
                Entry::Decide(at) => Guest::Decide(at.load(&mut store, &instance)?),
                Entry::Process(at) => Guest::Process(at.load(&mut store, &instance)?),
            })
        });
    match guest {
        Ok(guest) => Ok(Live { store, guest }),
        Err(error) => {
            let mut failure = classify(&error, store.data(), component);
            if failure.fault == Fault::Trap {
                failure.fault = Fault::Instantiation;
            }
            Err(failure)
        }
    }
}

/// Starts the deadline and the fuel of one call.
fn arm(store: &mut Store<State>, component: &Component) -> wasmtime::Result<()> {
    let ticks =
        u64::from(component.limits.deadline_ms).div_ceil(EPOCH_TICK.as_millis().max(1) as u64);
    // One more, since the present tick has partly gone.
    store.set_epoch_deadline(ticks + 1);
    if let Some(fuel) = component.limits.fuel {
        store.set_fuel(fuel)?;
    }
    let state = store.data_mut();
    state.deadline = Instant::now() + Duration::from_millis(component.limits.deadline_ms.into());
    state.memory.refused = false;
    state.meter_refused = false;
    Ok(())
}

fn classify(error: &wasmtime::Error, state: &State, component: &Component) -> Failure {
    let name = &component.name;
    let limits = &component.limits;
    match error.downcast_ref::<CallEnd>() {
        Some(CallEnd::ModelDeadline { model }) => {
            let deadline = limits.deadline_ms;
            let message = format!(
                "`{name}` ran past its deadline of {deadline} ms while model `{model}` ran for it"
            );
            return Failure::new(Fault::Deadline, message);
        }
        Some(CallEnd::Tensors(refusal)) => {
            return Failure::new(Fault::Memory, format!("`{name}`: {refusal}"));
        }
        None => {}
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::Interrupt) => Failure::new(
            Fault::Deadline,
            format!(
                "`{name}` ran past its deadline of {} ms",
                limits.deadline_ms
            ),
        ),
        Some(wasmtime::Trap::OutOfFuel) => Failure::new(
            Fault::Fuel,
            format!(
                "`{name}` used up its fuel of {}",
                limits.fuel.unwrap_or_default()
            ),
        ),
        // An allocation that fails makes most languages trap: the cause is the limit.
        _ if state.memory.refused => Failure::new(
            Fault::Memory,
            format!(
                "`{name}` asked for more linear memory than its {} MiB",
                limits.memory_mib
            ),
        ),
        None if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) => Failure::new(
            Fault::Memory,
            format!("`{name}` holds more than {MAX_HANDLES} handles of the host"),
        ),
        Some(trap) => Failure::new(Fault::Trap, format!("`{name}` trapped: {trap}")),
        None => Failure::new(Fault::Trap, format!("`{name}` trapped: {error:#}")),
    }
}

fn wrong_world(world: &str) -> wasmtime::Error {
    wasmtime::format_err!("it is no {world}")
}

/// Takes the tensors that a component returned out of its table.
fn take(state: &mut State, tensors: Vec<NamedTensor>) -> wasmtime::Result<Tensors> {
    tensors
        .into_iter()
        .map(|named| {
            let tensor = state.table.delete(named.tensor)?;
            Ok((named.name, Tensor::clone(&tensor)))
        })
        .collect()
}

pub(crate) const fn mib(mib: u32) -> usize {
    (mib as usize) << 20
}

impl From<types::ErrorCode> for ErrorCode {
    fn from(code: types::ErrorCode) -> Self {
        match code {
            types::ErrorCode::InvalidInput => Self::InvalidInput,
            types::ErrorCode::Unsupported => Self::Unsupported,
            types::ErrorCode::NotFound => Self::NotFound,
            types::ErrorCode::Denied => Self::Denied,
            types::ErrorCode::LimitExceeded => Self::LimitExceeded,
            types::ErrorCode::Internal => Self::Internal,
        }
    }
}
