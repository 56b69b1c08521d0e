//! One instance in its store, and the classification of failed calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_trust::{Limits, World};
use wasmtime::component::{Resource, ResourceTableError, TypedFunc};
use wasmtime::{CallHook, Store};

use crate::backtrace;
use crate::call_end::CallEnd;
use crate::convert;
use crate::engine::EPOCH_TICK;
use crate::fault::{ErrorCode, Failure, Fault};
use crate::host::State;
use crate::host::bindings::governor;
use crate::host::bindings::hotshoe::pipeline::tensors::NamedTensor;
use crate::host::bindings::hotshoe::pipeline::types;
use crate::host::bindings::v0_2::{Prepared, Processed, Verdict};
use crate::limits::{Refused, Wear, all_handles, is_out_of_memory};
use crate::linked_component::{Entry, LinkedComponent};
use crate::message::clip;
use crate::sample::Sample;
use crate::units::{kib, mib};

/// wasmtime's message, which has no type, when a list or string is refused before it is copied. A test fails if the text changes.
const TOO_MUCH: &str = "fuel allocated for hostcalls has been exhausted";
/// Its message when a component's own table of handles is full.
const TOO_MANY_HANDLES: &str = "handle limit exceeded";
/// The beginnings of the out-of-memory messages of QuickJS and CPython. Without a new instance, every later sample would get the same error.
const OUT_OF_MEMORY: [&str; 2] = ["InternalError: out of memory", "MemoryError"];

/// The component's own result, or the error that ended the call.
pub(crate) type CallResult<T> = wasmtime::Result<Result<T, types::Error>>;

/// Calls after the first in which memory grows, from which on it counts as a leak.
const LEAK_GROWTHS: u32 = 2;

pub(crate) struct LiveInstance {
    pub(crate) store: Store<State>,
    pub(crate) guest: Guest,
    /// Calls that it has served.
    calls: u32,
    /// Calls after the first in which its linear memory grew.
    growths: u32,
}

/// Peak memory of the instances of a component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of linear memory.
    pub memory_bytes: u64,
    /// Bytes of host tensors and images.
    pub tensor_bytes: u64,
}

type Function<P, T> = TypedFunc<P, (Result<T, types::Error>,)>;

/// The exported function of a component. Those of 0.2.0 whose samples can be skipped have types of their own; all others are the same in all versions.
pub(crate) enum Guest {
    Admit(Function<(Resource<Sample>,), Verdict>),
    Preprocess(Function<(Resource<Sample>,), Vec<NamedTensor>>),
    PreprocessOrSkip(Function<(Resource<Sample>,), Prepared>),
    Postprocess(Function<(Resource<Sample>, Vec<NamedTensor>), types::Insight>),
    Decide(Function<(types::Insight, types::DeviceContext), Vec<types::Action>>),
    Process(Function<(Resource<Sample>,), types::Insight>),
    ProcessOrSkip(Function<(Resource<Sample>,), Processed>),
    Govern(TypedFunc<(governor::DeviceState,), (Result<governor::Plan, String>,)>),
}

impl Guest {
    fn load(
        entry: &Entry,
        store: &mut Store<State>,
        instance: &wasmtime::component::Instance,
    ) -> wasmtime::Result<Self> {
        let function = entry.function;
        Ok(match entry.world {
            World::Filter => Self::Admit(instance.get_typed_func(store, function)?),
            World::Preprocessor if entry.skips => {
                Self::PreprocessOrSkip(instance.get_typed_func(store, function)?)
            }
            World::Preprocessor => Self::Preprocess(instance.get_typed_func(store, function)?),
            World::Postprocessor => Self::Postprocess(instance.get_typed_func(store, function)?),
            World::Policy => Self::Decide(instance.get_typed_func(store, function)?),
            World::Stage if entry.skips => {
                Self::ProcessOrSkip(instance.get_typed_func(store, function)?)
            }
            World::Stage => Self::Process(instance.get_typed_func(store, function)?),
            World::Governor => Self::Govern(instance.get_typed_func(store, function)?),
        })
    }
}

impl LiveInstance {
    /// Creates an instance, and runs its start-up code.
    pub(crate) fn new(component: &LinkedComponent) -> Result<Self, Failure> {
        let limits = &component.limits;
        let mut store = Store::new(
            component.pre.engine(),
            State::new(
                Arc::clone(&component.services),
                // Not accessible without the grant.
                component.state.clone().unwrap_or_default(),
                limits,
            ),
        );
        store.limiter(|state| &mut state.memory);
        store.set_max_component_handles(all_handles(limits));
        bound_copies(&mut store, mib(limits.tensor_mib), kib(limits.output_kib));
        let guest = arm(&mut store, component)
            .and_then(|()| Ok(store.data_mut().open_wasi()?))
            .and_then(|()| component.pre.instantiate(&mut store))
            .and_then(|instance| Guest::load(&component.entry, &mut store, &instance));
        match guest {
            Ok(guest) => Ok(Self {
                store,
                guest,
                calls: 0,
                growths: 0,
            }),
            Err(error) => {
                let mut failure = classify(&error, store.data(), component);
                if failure.fault == Fault::Trap {
                    failure.fault = Fault::Instantiation;
                }
                Err(failure)
            }
        }
    }

    /// Runs one call, with its deadline and fuel.
    pub(crate) fn call<T>(
        &mut self,
        component: &LinkedComponent,
        run: impl FnOnce(&mut Self) -> CallResult<T>,
    ) -> Result<T, Failure> {
        self.calls = self.calls.saturating_add(1);
        arm(&mut self.store, component)
            .and_then(|()| run(self))
            .map_err(|error| classify(&error, self.store.data(), component))
            .and_then(|result| {
                result.map_err(|error| returned(error, self.store.data(), component))
            })
    }

    /// Whether the instance must be replaced after the call that just ended, before which its linear memory had `held_before` bytes.
    pub(crate) fn wear(&mut self, limits: &Limits, held_before: u64) -> Option<Wear> {
        let memory = &self.store.data().memory;
        // What the first calls take may be all that it needs: a leak grows again and again.
        if self.calls > 1 && memory.held_bytes() as u64 > held_before {
            self.growths = self.growths.saturating_add(1);
        }
        let grows = self.growths >= LEAK_GROWTHS && memory.held_bytes() as u64 > held_before;
        if memory.ran_out() || grows && memory.is_nearly_full() {
            return Some(Wear::Memory);
        }
        let most = limits.calls?;
        (self.calls >= most).then_some(Wear::Calls)
    }

    /// Peak memory.
    pub(crate) fn usage(&self) -> Usage {
        let state = self.store.data();
        Usage {
            memory_bytes: state.memory.held_bytes() as u64,
            tensor_bytes: state.tensor_budget.bytes().1,
        }
    }

    /// Bytes that it holds between two calls.
    pub(crate) fn held_bytes(&self) -> u64 {
        let state = self.store.data();
        state.memory.held_bytes() as u64 + state.tensor_budget.bytes().0
    }
}

/// Bounds the bytes that the host copies out of the component's memory: `arguments` in a call of the host, `result` for the
/// component's result. wasmtime counts before it allocates, but has only one limit for both.
fn bound_copies(store: &mut Store<State>, arguments: usize, result: usize) {
    store.set_hostcall_fuel(arguments);
    store.call_hook(move |mut store, hook| {
        let returning = match hook {
            CallHook::CallingHost => false,
            CallHook::ReturningFromWasm => true,
            CallHook::CallingWasm | CallHook::ReturningFromHost => return Ok(()),
        };
        store.set_hostcall_fuel(if returning { result } else { arguments });
        store.data_mut().returning = returning;
        Ok(())
    });
}

/// Starts the deadline and the fuel of one call.
fn arm(store: &mut Store<State>, component: &LinkedComponent) -> wasmtime::Result<()> {
    let ticks =
        u64::from(component.limits.deadline_ms).div_ceil(EPOCH_TICK.as_millis().max(1) as u64);
    // One more, since the current tick has partly elapsed.
    store.set_epoch_deadline(ticks + 1);
    if let Some(fuel) = component.limits.fuel {
        store.set_fuel(fuel)?;
    }
    let state = store.data_mut();
    state.deadline = Instant::now() + Duration::from_millis(component.limits.deadline_ms.into());
    state.memory.refused = None;
    state.tensor_refused = false;
    state.reported_fault = None;
    Ok(())
}

/// The failure for an error that the component returned.
fn returned(mut error: types::Error, state: &State, component: &LinkedComponent) -> Failure {
    // Before it is cut, so that no part of a secret is left.
    error.message = component.services.without_secrets(error.message);
    let mut failure = convert::failure_from_guest(error);
    let says_so = OUT_OF_MEMORY
        .iter()
        .any(|text| failure.message.starts_with(text));
    // A component that handles the refusal itself says so by another code.
    if failure.fault == Fault::Guest(ErrorCode::Internal) && (says_so || state.memory.ran_out()) {
        failure.fault = Fault::Memory;
        let limit = match state.memory.refused {
            Some(Refused::NoMemory) => "this machine's memory".to_owned(),
            _ => format!("its memory-mib of {} MiB", component.limits.memory_mib),
        };
        failure.message = clip(format!(
            "`{}` ran out of {limit}: {}",
            component.name, failure.message
        ));
    }
    failure
}

fn classify(error: &wasmtime::Error, state: &State, component: &LinkedComponent) -> Failure {
    let (fault, what) = cause(error, state, component);
    Failure::new(fault, format!("`{}` {what}", component.name))
}

fn cause(error: &wasmtime::Error, state: &State, component: &LinkedComponent) -> (Fault, String) {
    let limits = &component.limits;
    let deadline = limits.deadline_ms;
    match error.downcast_ref::<CallEnd>() {
        Some(CallEnd::ModelDeadline { model }) => {
            let what = format!("missed its deadline of {deadline} ms while it ran model `{model}`");
            return (Fault::Deadline, what);
        }
        Some(CallEnd::NativeDeadline { operation }) => {
            let what =
                format!("missed its deadline of {deadline} ms in the host operation `{operation}`");
            return (Fault::Deadline, what);
        }
        Some(CallEnd::Folder { path, reason }) => {
            let what = format!("cannot open its folder `{path}`: {reason}");
            return (Fault::Instantiation, what);
        }
        Some(CallEnd::Tensors(refusal)) => {
            return (Fault::Memory, format!("asked for too much: {refusal}"));
        }
        None => {}
    }
    let trap = error.downcast_ref::<wasmtime::Trap>();
    match (trap, state.memory.refused) {
        (Some(wasmtime::Trap::Interrupt), _) => {
            let what = format!("missed its deadline of {deadline} ms");
            return (Fault::Deadline, what);
        }
        (Some(wasmtime::Trap::OutOfFuel), _) => {
            let fuel = limits.fuel.unwrap_or_default();
            return (Fault::Fuel, format!("used up its fuel of {fuel}"));
        }
        // Most languages trap when an allocation fails: the cause is the limit.
        (_, Some(Refused::Memory)) => {
            let most = limits.memory_mib;
            let what = format!("asked for more linear memory than its memory-mib of {most} MiB");
            return (Fault::Memory, what);
        }
        (_, Some(Refused::NoMemory)) => {
            let most = limits.memory_mib;
            let what = format!(
                "asked for linear memory within its memory-mib of {most} MiB, but this machine is out of memory"
            );
            return (Fault::Memory, what);
        }
        (_, Some(Refused::Table)) => {
            let most = limits.table_elements;
            let what = format!("asked for more table elements than its table-elements of {most}");
            return (Fault::Table, what);
        }
        (Some(trap), None) => {
            let path = backtrace::of(error);
            let what = match &state.reported_fault {
                Some(text) if path.is_empty() => format!("panicked: {text}"),
                Some(text) => format!("panicked: {text},{path}"),
                None => format!("trapped{path}: {trap}"),
            };
            return (Fault::Trap, what);
        }
        (None, None) => {}
    }
    if is_out_of_memory(error) {
        let what = "needs memory, but this machine is out of memory".to_owned();
        return (Fault::Memory, what);
    }
    let text = format!("{error:#}");
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        || text.contains(TOO_MANY_HANDLES)
    {
        let (all, handles) = (all_handles(limits), limits.handles);
        let what = format!(
            "holds more than {all} handles of the host, 4 times its limit `handles` of {handles}"
        );
        return (Fault::Handles, what);
    }
    if text.contains(TOO_MUCH) {
        return if state.returning {
            let most = limits.output_kib;
            let what = format!("returned more than its output-kib of {most} KiB");
            (Fault::Output, what)
        } else {
            let most = limits.tensor_mib;
            let what = format!("gave the host more at once than its tensor-mib of {most} MiB");
            (Fault::Memory, what)
        };
    }
    (Fault::Trap, format!("trapped: {text}"))
}
