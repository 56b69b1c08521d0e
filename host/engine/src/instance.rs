use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_infer::{Tensor, VariantChoice};
use hotshoe_trust::InstanceMode;
use wasmtime::component::Resource;

use crate::component::Component;
use crate::convert;
use crate::fault::{Failure, Fault};
use crate::governor::convert::{plan_from_guest, state_to_guest};
use crate::governor::{DeviceState, Plan};
use crate::host::bindings::hotshoe::pipeline::tensors::NamedTensor;
use crate::host::bindings::hotshoe::pipeline::types;
use crate::host::bindings::v0_2::{Prepared, Processed, Verdict};
use crate::host::{Services, State, Tensors};
use crate::insight::{Action, DeviceContext, Insight};
use crate::live::{CallResult, Guest, LiveInstance, Usage};
use crate::message::clip;
use crate::sample::Sample;
use crate::vector;

/// A worker's access to the instances of a component: its own instance, a new one for each call, or one for each source of samples, which
/// all workers share. An instance is replaced after a failure that leaves it in an unknown state.
pub struct Instance {
    component: Arc<Component>,
    /// An idle instance.
    ready: Option<LiveInstance>,
    model_times: Vec<(String, Duration)>,
    usage: Usage,
    variants: Arc<VariantChoice>,
}

impl Instance {
    /// Access to instances of `component`, which are created on demand.
    pub fn new(component: Arc<Component>) -> Self {
        Self {
            component,
            ready: None,
            model_times: Vec::new(),
            usage: Usage {
                memory_bytes: 0,
                tensor_bytes: 0,
            },
            variants: Arc::default(),
        }
    }

    /// The variants that models which the component runs begin with, from the next call on.
    pub fn use_variants(&mut self, variants: &Arc<VariantChoice>) {
        self.variants = Arc::clone(variants);
    }

    /// The component's name in the release.
    pub fn name(&self) -> &str {
        self.component.name()
    }

    /// Takes the models that the last calls ran through the `infer` import, with the time of each.
    pub fn take_model_times(&mut self) -> Vec<(String, Duration)> {
        std::mem::take(&mut self.model_times)
    }

    /// Peak memory of an instance, over all calls so far.
    pub const fn usage(&self) -> Usage {
        self.usage
    }

    /// Instantiates the component now, so that the first sample does not wait for it.
    ///
    /// # Errors
    /// [`Fault::Instantiation`], or the fault of the component's start-up code.
    pub fn warm_up(&mut self) -> Result<(), Failure> {
        if self.ready.is_none() {
            self.ready = Some(LiveInstance::new(&self.component.linked)?);
        }
        Ok(())
    }

    /// Runs a `filter`: sample -> whether it is processed.
    ///
    /// # Errors
    /// The [`Failure`] that this sample ends with; [`Fault::Skipped`] if the component leaves it out.
    pub fn admit(&mut self, sample: &Sample) -> Result<(), Failure> {
        let made = self.call(&sample.source, |LiveInstance { store, guest, .. }| {
            let Guest::Admit(guest) = guest else {
                return Err(wrong_world("filter"));
            };
            let own = store.data_mut().table.push(sample.clone())?;
            let (result,) = guest.call(&mut *store, (Resource::new_borrow(own.rep()),))?;
            store.data_mut().table.delete(own)?;
            Ok(result.map(|verdict| match verdict {
                Verdict::Passed => Made::Whole(()),
                Verdict::Skipped(reason) => Made::Skipped(reason),
            }))
        });
        made?.whole(&self.component.linked.services)
    }

    /// Runs a `preprocessor`: sample -> named tensors.
    ///
    /// # Errors
    /// The [`Failure`] that this sample ends with; [`Fault::Skipped`] if the component leaves it out.
    pub fn prepare(&mut self, sample: &Sample) -> Result<Tensors, Failure> {
        let made = self.call(&sample.source, |LiveInstance { store, guest, .. }| {
            let own = store.data_mut().table.push(sample.clone())?;
            let sample = (Resource::new_borrow(own.rep()),);
            let result = match guest {
                Guest::Preprocess(guest) => guest.call(&mut *store, sample)?.0.map(Made::Whole),
                Guest::PreprocessOrSkip(guest) => {
                    guest.call(&mut *store, sample)?.0.map(|made| match made {
                        Prepared::Tensors(tensors) => Made::Whole(tensors),
                        Prepared::Skipped(reason) => Made::Skipped(reason),
                    })
                }
                _ => return Err(wrong_world("preprocessor")),
            };
            store.data_mut().table.delete(own)?;
            Ok(match result {
                Ok(Made::Whole(tensors)) => Ok(Made::Whole(take(store.data_mut(), tensors)?)),
                Ok(Made::Skipped(reason)) => Ok(Made::Skipped(reason)),
                Err(error) => Err(error),
            })
        });
        made?.whole(&self.component.linked.services)
    }

    /// Runs a `postprocessor`: named tensors + sample -> insight.
    ///
    /// # Errors
    /// The [`Failure`] that this sample ends with.
    pub fn interpret(&mut self, sample: &Sample, outputs: Tensors) -> Result<Insight, Failure> {
        self.call(&sample.source, |LiveInstance { store, guest, .. }| {
            let Guest::Postprocess(guest) = guest else {
                return Err(wrong_world("postprocessor"));
            };
            let outputs = match store.data_mut().hold_tensors(outputs)? {
                Ok(outputs) => outputs,
                Err(error) => return Ok(Err(error)),
            };
            let own = store.data_mut().table.push(sample.clone())?;
            let (result,) = guest.call(&mut *store, (Resource::new_borrow(own.rep()), outputs))?;
            store.data_mut().table.delete(own)?;
            Ok(result.and_then(convert::insight_from_guest))
        })
    }

    /// Runs a `stage`: sample -> insight.
    ///
    /// # Errors
    /// The [`Failure`] that this sample ends with; [`Fault::Skipped`] if the component leaves it out.
    pub fn process(&mut self, sample: &Sample) -> Result<Insight, Failure> {
        let made = self.call(&sample.source, |LiveInstance { store, guest, .. }| {
            let own = store.data_mut().table.push(sample.clone())?;
            let sample = (Resource::new_borrow(own.rep()),);
            let result = match guest {
                Guest::Process(guest) => guest.call(&mut *store, sample)?.0.map(Made::Whole),
                Guest::ProcessOrSkip(guest) => {
                    guest.call(&mut *store, sample)?.0.map(|made| match made {
                        Processed::Insight(insight) => Made::Whole(insight),
                        Processed::Skipped(reason) => Made::Skipped(reason),
                    })
                }
                _ => return Err(wrong_world("stage")),
            };
            store.data_mut().table.delete(own)?;
            Ok(match result {
                Ok(Made::Whole(insight)) => convert::insight_from_guest(insight).map(Made::Whole),
                Ok(Made::Skipped(reason)) => Ok(Made::Skipped(reason)),
                Err(error) => Err(error),
            })
        });
        made?.whole(&self.component.linked.services)
    }

    /// Runs a `policy`: insight of a sample of `source` + device context -> actions, in order of execution.
    ///
    /// # Errors
    /// The [`Failure`] that this sample ends with.
    pub fn decide(
        &mut self,
        source: &str,
        insight: &Insight,
        device: &DeviceContext,
    ) -> Result<Vec<Action>, Failure> {
        self.call(source, |LiveInstance { store, guest, .. }| {
            let Guest::Decide(guest) = guest else {
                return Err(wrong_world("policy"));
            };
            let insight = convert::insight_to_guest(insight);
            let device = convert::device_to_guest(device);
            let (result,) = guest.call(&mut *store, (insight, device))?;
            Ok(result.and_then(convert::actions_from_guest))
        })
        .and_then(|actions| {
            let sent = self.component.linked.services.check_sent(&actions);
            sent.map(|()| actions)
        })
    }

    /// Runs a `governor`: device state -> plan.
    ///
    /// # Errors
    /// The [`Failure`] of the call; [`Fault::UnsignedMode`] or [`Fault::InvalidPlan`] if the plan breaks a bound of its interface.
    pub fn govern(&mut self, state: &DeviceState) -> Result<Plan, Failure> {
        let plan = self.call("", |LiveInstance { store, guest, .. }| {
            let Guest::Govern(guest) = guest else {
                return Err(wrong_world("governor"));
            };
            let (result,) = guest.call(&mut *store, (state_to_guest(state),))?;
            let code = types::ErrorCode::Internal;
            Ok(result.map_err(|message| types::Error { code, message }))
        })?;
        plan_from_guest(plan, state).map_err(|defect| {
            let message = format!("the plan of `{}` {defect}", self.name());
            Failure::new(defect.fault(), message)
        })
    }

    fn call<T>(
        &mut self,
        source: &str,
        run: impl FnOnce(&mut LiveInstance) -> CallResult<T>,
    ) -> Result<T, Failure> {
        let component = Arc::clone(&self.component);
        if component.mode == InstanceMode::PerSource {
            let limit = Duration::from_millis(component.linked.limits.deadline_ms.into());
            let Some((lock, kept)) = component
                .sources
                .lock_source(source, Instant::now() + limit)
            else {
                let message = format!(
                    "`{}` was busy with another sample of this source until the deadline",
                    component.linked.name
                );
                return Err(Failure::new(Fault::Deadline, message));
            };
            let mut live = self.made(kept)?;
            let (result, whole) = self.run(&mut live, run);
            if whole {
                let bytes = live.held_bytes();
                lock.keep(live, bytes);
            }
            return result;
        }
        let mut live = self.made(None)?;
        let (result, whole) = self.run(&mut live, run);
        if whole && component.mode == InstanceMode::Shared {
            self.ready = Some(live);
        }
        result
    }

    /// `kept`, or the idle instance, or a new one.
    fn made(&mut self, kept: Option<LiveInstance>) -> Result<LiveInstance, Failure> {
        match kept.or_else(|| self.ready.take()) {
            Some(live) => Ok(live),
            None => LiveInstance::new(&self.component.linked),
        }
    }

    /// Runs one call. Also returns whether the instance can be used again.
    fn run<T>(
        &mut self,
        live: &mut LiveInstance,
        run: impl FnOnce(&mut LiveInstance) -> CallResult<T>,
    ) -> (Result<T, Failure>, bool) {
        vector::tidy();
        // An instance of a source may have served another worker in between.
        live.store.data_mut().variants = Arc::clone(&self.variants);
        let held_before = live.usage().memory_bytes;
        let result = live.call(&self.component.linked, run);
        let usage = live.usage();
        self.usage.memory_bytes = self.usage.memory_bytes.max(usage.memory_bytes);
        self.usage.tensor_bytes = self.usage.tensor_bytes.max(usage.tensor_bytes);
        self.model_times
            .append(&mut live.store.data_mut().model_times);
        let whole = match &result {
            Ok(_) => true,
            // After a refused tensor the instance may keep holding too many.
            Err(failure) => !failure.fault.ends_instance() && !live.store.data().tensor_refused,
        };
        let worn = live.wear(&self.component.linked.limits, held_before);
        if let Some(wear) = worn
            && self.component.mode != InstanceMode::PerCall
        {
            self.component.linked.services.count_replacement(wear);
        }
        (result, whole && worn.is_none())
    }
}

/// What a component makes of a sample.
enum Made<T> {
    Whole(T),
    /// It leaves the sample out, for this reason.
    Skipped(String),
}

impl<T> Made<T> {
    fn whole(self, services: &Services) -> Result<T, Failure> {
        match self {
            Self::Whole(made) => Ok(made),
            Self::Skipped(reason) => {
                let reason = clip(services.without_secrets(reason));
                Err(Failure::new(Fault::Skipped, reason))
            }
        }
    }
}

fn wrong_world(world: &str) -> wasmtime::Error {
    wasmtime::format_err!("it is not a {world}")
}

/// Removes the returned tensors from the table of the component.
fn take(state: &mut State, tensors: Vec<NamedTensor>) -> wasmtime::Result<Tensors> {
    tensors
        .into_iter()
        .map(|named| {
            let tensor = state.table.delete(named.tensor)?;
            Ok((named.name, Tensor::clone(&tensor)))
        })
        .collect()
}
