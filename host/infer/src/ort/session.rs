//! A model that ONNX Runtime holds.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ort::ErrorCode;
use ort::environment::Environment;
use ort::ep::ExecutionProviderDispatch;
use ort::logging::LogLevel;
use ort::session::{RunOptions, Session as Raw, SessionInputValue};
use prost::Message;
use tract_onnx::pb::ModelProto;

use super::library::loaded;
use super::providers::{CPU, Choice, choose, note};
use super::settings::Settings;
use super::values::{self, ValueError};
use crate::backend::{Session, Setting, Stop};
use crate::guard::guard;

use crate::{LoadError, ModelOptions, Options, RunError, Stats, Tensor, TensorInfo, describe};

/// IR version from which on weights are no inputs unless the file lists them there to be overridden, which costs speed.
const WEIGHTS_ARE_NO_INPUTS: i64 = 4;

/// A model that ONNX Runtime holds. One of its sessions runs once at a time, so that there are several if runs come at once.
pub(crate) struct OrtSession {
    inputs: Vec<TensorInfo>,
    /// Names, for messages.
    outputs: Vec<String>,
    maker: Maker,
    pool: Mutex<Pool>,
    freed: Condvar,
    settings: Settings,
    provider: &'static str,
    notes: Vec<String>,
    max_tensor_bytes: usize,
}

/// What it takes to make one more session.
struct Maker {
    environment: Environment,
    providers: Vec<ExecutionProviderDispatch>,
    threads: usize,
    /// Empty if there will be one session only.
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Runner>,
    /// Sessions, the running ones among them.
    made: usize,
    most: usize,
}

struct Runner {
    session: Raw,
    /// Shared with whoever stops the run.
    options: Arc<RunOptions>,
}

impl OrtSession {
    /// Opens a file, on the first of the providers that were asked for that works.
    pub(crate) fn load(
        file: &ModelProto,
        bytes: &[u8],
        how: &ModelOptions,
        options: &Options,
    ) -> Result<Self, LoadError> {
        let library =
            loaded(&options.ort).map_err(|e| LoadError::NoRuntime { source: e.into() })?;
        let graph = file.graph.as_ref().ok_or(LoadError::Empty)?;
        let (inputs, outputs) = (describe::inputs(graph)?, describe::outputs(graph)?);
        let (mut choices, mut notes) = choose(&options.ort.providers, &library.providers);
        let bytes = without_weights_as_inputs(file, bytes);
        let mut maker = Maker {
            environment: library.environment,
            providers: Vec::new(),
            threads: how.threads.max(1),
            bytes: Vec::new(),
        };
        let runner = loop {
            maker.providers = choices.iter().map(|it| it.dispatch.clone()).collect();
            let made =
                guard(|| maker.make(&bytes)).map_err(|message| LoadError::Panicked { message })?;
            match made {
                Ok(runner) => break runner,
                Err(e) if choices.is_empty() => {
                    return Err(LoadError::Runtime { source: e.into() });
                }
                Err(e) => {
                    let Choice { name, .. } = choices.remove(0);
                    notes.push(note(name, &e.to_string()));
                }
            }
        };
        let most = how
            .max_runs
            .unwrap_or(options.pool.saturating_sub(1))
            .max(1);
        if most > 1 {
            maker.bytes = bytes.into_owned();
        }
        Ok(Self {
            inputs,
            outputs: outputs.into_iter().map(|info| info.name).collect(),
            maker,
            pool: Mutex::new(Pool {
                idle: vec![runner],
                made: 1,
                most,
            }),
            freed: Condvar::new(),
            settings: Settings::new(options.plans),
            provider: choices.first().map_or(CPU, |choice| choice.name),
            notes,
            max_tensor_bytes: options.max_tensor_bytes,
        })
    }

    /// A session that nobody runs, made now if all run and there may be more.
    fn take(&self) -> Result<Taken<'_>, RunError> {
        let mut pool = self.pool();
        loop {
            if let Some(runner) = pool.idle.pop() {
                return Ok(Taken {
                    from: self,
                    runner: Some(runner),
                });
            }
            if pool.made < pool.most {
                pool.made += 1;
                drop(pool);
                let mut taken = Taken {
                    from: self,
                    runner: None,
                };
                let made = guard(|| self.maker.make(&self.maker.bytes))
                    .map_err(|message| RunError::Panicked { message })?;
                taken.runner = Some(made.map_err(|e| RunError::Failed { source: e.into() })?);
                return Ok(taken);
            }
            pool = self
                .freed
                .wait(pool)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outputs(&self, runner: &mut Runner, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunFailure> {
        let named = self.inputs.iter().zip(inputs);
        let values = named
            .map(|(info, tensor)| Ok((Cow::Borrowed(info.name.as_str()), values::input(tensor)?)));
        let values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = values
            .collect::<Result<_, ValueError>>()
            .map_err(RunFailure::Input)?;
        let results = runner
            .session
            .run_with_options(values, &runner.options)
            .map_err(RunFailure::Run)?;
        let copied = self.outputs.iter().zip(results.values());
        copied
            .map(|(name, value)| {
                values::output(&value, self.max_tensor_bytes)
                    .map_err(|e| RunFailure::Output(name.clone(), e))
            })
            .collect()
    }

    fn error(&self, failure: RunFailure, inputs: &[Tensor]) -> RunError {
        match failure {
            RunFailure::Run(e) if e.code() == ErrorCode::InvalidArgument => RunError::Plan {
                shapes: inputs
                    .iter()
                    .map(|tensor| tensor.shape().to_vec())
                    .collect(),
                source: Arc::new(e),
            },
            RunFailure::Run(e) => RunError::Failed { source: e.into() },
            RunFailure::Input(e) => RunError::Failed { source: e.into() },
            RunFailure::Output(name, ValueError::TooLarge { bytes, limit }) => RunError::TooLarge {
                what: format!("the output \"{name}\""),
                bytes,
                limit,
            },
            RunFailure::Output(name, e) => RunError::Failed {
                source: format!("its output \"{name}\" cannot be read: {e}").into(),
            },
        }
    }
}

enum RunFailure {
    Input(ValueError),
    Run(ort::Error),
    Output(String, ValueError),
}

impl Session for OrtSession {
    /// Runs the model once on zeros, which is when the runtime plans its memory.
    fn prepare(&self, setting: &Setting) -> Result<(), RunError> {
        let tensors = self.inputs.iter().zip(&setting.shapes).enumerate();
        let tensors = tensors.map(|(at, (info, shape))| {
            let known = setting.values.get(at).cloned().flatten();
            let known = known.filter(|value| value.shape() == shape.as_slice());
            known.map_or_else(|| Tensor::zeros(info.element_type, shape), Ok)
        });
        let tensors = tensors
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| RunError::Failed { source: e.into() })?;
        self.run(&tensors, &Stop::default()).map(drop)
    }

    fn run(&self, inputs: &[Tensor], stop: &Stop) -> Result<Vec<Tensor>, RunError> {
        let mut taken = self.take()?;
        let Some(mut runner) = taken.runner.take() else {
            return Err(RunError::Deadline);
        };
        let options = runner.options.clone();
        let telling = stop.telling(move || {
            if let Err(e) = options.terminate() {
                tracing::warn!("a run of ONNX Runtime cannot be stopped: {e}");
            }
        });
        let result = guard(|| self.outputs(&mut runner, inputs));
        drop(telling);
        // After a panic nobody knows what state the session is in.
        let result = result.map_err(|message| RunError::Panicked { message })?;
        if stop.is_stopped() {
            taken.runner = runner.renewed();
            return Err(RunError::Deadline);
        }
        taken.runner = Some(runner);
        let tensors = result.map_err(|failure| self.error(failure, inputs))?;
        self.settings.used(inputs);
        Ok(tensors)
    }

    fn settings(&self) -> Vec<Setting> {
        self.settings.all()
    }

    fn stats(&self) -> Stats {
        self.settings.stats()
    }

    fn provider(&self) -> &str {
        self.provider
    }

    fn provider_notes(&self) -> &[String] {
        &self.notes
    }
}

impl Maker {
    fn make(&self, bytes: &[u8]) -> ort::Result<Runner> {
        let mut builder = Raw::builder(&self.environment)?
            .with_log_level(LogLevel::Warning)?
            .with_intra_threads(self.threads)?
            .with_inter_threads(1)?
            // Threads that wait for work would take the processor from the other models.
            .with_intra_op_spinning(false)?;
        for provider in &self.providers {
            provider.register(&mut builder)?;
        }
        Ok(Runner {
            session: builder.commit_from_memory(bytes)?,
            options: Arc::new(RunOptions::new()?),
        })
    }
}

impl Runner {
    /// With options that nobody has ended; `None` if there are none to have.
    fn renewed(self) -> Option<Self> {
        let options = Arc::new(RunOptions::new().ok()?);
        Some(Self { options, ..self })
    }
}

/// A session that is used; it goes back when this is dropped, or makes room for another if it is gone.
struct Taken<'a> {
    from: &'a OrtSession,
    runner: Option<Runner>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut pool = self.from.pool();
        match self.runner.take() {
            Some(runner) => pool.idle.push(runner),
            None => pool.made -= 1,
        }
        drop(pool);
        self.from.freed.notify_one();
    }
}

impl fmt::Debug for OrtSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "OrtSession({}, {} threads)",
            self.provider, self.maker.threads
        )
    }
}

/// The file, where needed without the weights that it lists among its inputs: the runtime would not fold what may change.
fn without_weights_as_inputs<'a>(file: &ModelProto, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    let Some(graph) = &file.graph else {
        return Cow::Borrowed(bytes);
    };
    let weight = |name: &str| graph.initializer.iter().any(|weight| weight.name == name);
    if file.ir_version < WEIGHTS_ARE_NO_INPUTS || !graph.input.iter().any(|it| weight(&it.name)) {
        return Cow::Borrowed(bytes);
    }
    let mut slim = file.clone();
    if let Some(slim) = &mut slim.graph {
        slim.input.retain(|input| !weight(&input.name));
    }
    Cow::Owned(slim.encode_to_vec())
}
