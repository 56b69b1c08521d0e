//! A model in ONNX Runtime.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use ort::ErrorCode;
use ort::environment::Environment;
use ort::ep::ExecutionProviderDispatch;
use ort::logging::LogLevel;
use ort::session::{RunOptions, Session as Raw, SessionInputValue};
use parking_lot::{Condvar, Mutex};
use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto};

use super::library::loaded;
use super::providers::{CPU, ProviderChoice, choose, note};
use super::recent::RecentSignatures;
use super::values::{self, ValueError};
use crate::backend::{InputSignature, Session, Stop};
use crate::guard::guard;
use crate::{LoadError, ModelOptions, Options, RunError, Stats, Tensor, TensorInfo, describe};

/// IR version from which weights are not inputs, unless the file lists them as overridable, which costs speed.
const WEIGHTS_ARE_NO_INPUTS: i64 = 4;

/// Default number of sessions of a model. Each has its own weights: the runtime can share the weights of the file between sessions,
/// but each session makes its own copy for convolutions. One session does not serve several threads: the binding's `run` takes it
/// mutably, because allocators and statistics of some execution providers are not safe to share.
const SESSIONS: usize = 1;

/// A model in ONNX Runtime. A session does one run at a time, so several sessions are created for concurrent runs, up to a limit.
pub(crate) struct OrtSession {
    inputs: Vec<TensorInfo>,
    /// Names, for messages.
    outputs: Vec<String>,
    maker: Maker,
    sessions: Sessions,
    /// Sessions of one thread, for parts of a run with several threads; without those, a part takes a session of whole runs.
    part_sessions: Option<Sessions>,
    signatures: RecentSignatures,
    provider: &'static str,
    notes: Vec<String>,
    max_tensor_bytes: usize,
    /// Whether an input has an open dimension.
    open: bool,
}

/// Creates further sessions.
struct Maker {
    environment: Environment,
    providers: Vec<ExecutionProviderDispatch>,
    /// Bytes of the file; empty if there is only one session.
    bytes: Vec<u8>,
}

/// Sessions with the same number of threads.
struct Sessions {
    threads: usize,
    pool: Mutex<Pool>,
    freed: Condvar,
}

struct Pool {
    idle: Vec<Raw>,
    /// Number of sessions, including running ones.
    made: usize,
    most: usize,
}

impl OrtSession {
    /// Loads a file with the first configured provider that works.
    pub(crate) fn load(
        file: &ModelProto,
        graph: &GraphProto,
        bytes: &[u8],
        how: &ModelOptions,
        options: &Options,
    ) -> Result<Self, LoadError> {
        let library = loaded(&options.ort)?;
        let (inputs, outputs) = (describe::inputs(graph)?, describe::outputs(graph)?);
        let (mut choices, mut notes) = choose(&options.ort.providers, &library.providers);
        let bytes = without_weights_as_inputs(file, graph, bytes);
        let mut maker = Maker {
            environment: library.environment,
            providers: Vec::new(),
            bytes: Vec::new(),
        };
        let threads = how.threads.max(1);
        let session = loop {
            maker.providers = choices.iter().map(|it| it.dispatch.clone()).collect();
            let problem = match guard(|| maker.make(threads, &bytes)) {
                Ok(Ok(session)) => break session,
                Ok(Err(e)) if choices.is_empty() => {
                    return Err(LoadError::Runtime { source: e.into() });
                }
                Err(message) if choices.is_empty() => return Err(LoadError::Panicked { message }),
                Ok(Err(e)) => e.to_string(),
                Err(message) => message,
            };
            let ProviderChoice { name, .. } = choices.remove(0);
            notes.push(note(name, &problem));
        };
        let most = how.max_runs.unwrap_or(SESSIONS).max(1);
        if most > 1 || threads > 1 {
            maker.bytes = bytes.into_owned();
        }
        Ok(Self {
            open: inputs.iter().any(|info| info.shape.contains(&None)),
            inputs,
            outputs: outputs.into_iter().map(|info| info.name).collect(),
            maker,
            sessions: Sessions::new(threads, vec![session], most),
            part_sessions: (threads > 1).then(|| Sessions::new(1, Vec::new(), threads)),
            signatures: RecentSignatures::new(options.plans),
            provider: choices.first().map_or(CPU, |choice| choice.name),
            notes,
            max_tensor_bytes: options.max_tensor_bytes,
        })
    }

    /// Runs on one of `sessions`.
    fn run_in(
        &self,
        sessions: &Sessions,
        inputs: &[Tensor],
        stop: &Stop,
    ) -> Result<Vec<Tensor>, RunError> {
        let mut session = sessions.take(&self.maker)?;
        let result = guard(|| self.run_on(&mut session, inputs, stop));
        // Also after a panic, which is in our code: the runtime itself does not panic.
        sessions.give(Some(session));
        result.unwrap_or_else(|message| Err(RunError::Panicked { message }))
    }

    fn run_on(
        &self,
        session: &mut Raw,
        inputs: &[Tensor],
        stop: &Stop,
    ) -> Result<Vec<Tensor>, RunError> {
        let options = RunOptions::new().map_err(|e| RunError::Failed { source: e.into() })?;
        let options = Arc::new(options);
        let run_options = options.clone();
        let telling = stop.on_stop(move || {
            if let Err(e) = run_options.terminate() {
                tracing::warn!("a run of ONNX Runtime cannot be stopped: {e}");
            }
        });
        let result = self.outputs(session, &options, inputs);
        drop(telling);
        if stop.is_stopped() {
            return Err(RunError::Deadline);
        }
        let tensors = result.map_err(|failure| self.error(failure, inputs))?;
        self.signatures.used(inputs);
        Ok(tensors)
    }

    fn outputs(
        &self,
        session: &mut Raw,
        options: &RunOptions,
        inputs: &[Tensor],
    ) -> Result<Vec<Tensor>, RunFailure> {
        let named = self.inputs.iter().zip(inputs);
        let values = named
            .map(|(info, tensor)| Ok((Cow::Borrowed(info.name.as_str()), values::input(tensor)?)));
        let values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = values
            .collect::<Result<_, ValueError>>()
            .map_err(RunFailure::Input)?;
        let results = session
            .run_with_options(values, options)
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
            RunFailure::Run(e) if self.refuses(e.code(), inputs) => RunError::Plan {
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

    /// Whether an error means that the layers of the model do not accept these inputs. The runtime checks shapes between layers during a
    /// run, mostly without a specific error code. Shapes of earlier successful runs are not the cause.
    fn refuses(&self, code: ErrorCode, inputs: &[Tensor]) -> bool {
        match code {
            ErrorCode::InvalidArgument => true,
            ErrorCode::GenericFailure | ErrorCode::RuntimeException => {
                self.open && !self.signatures.knows(inputs)
            }
            _ => false,
        }
    }
}

enum RunFailure {
    Input(ValueError),
    Run(ort::Error),
    Output(String, ValueError),
}

impl Session for OrtSession {
    /// Runs the model once on zeros, so that the runtime plans its memory.
    fn prepare(&self, signature: &InputSignature) -> Result<(), RunError> {
        let tensors = self.inputs.iter().zip(&signature.shapes).enumerate();
        let tensors = tensors.map(|(at, (info, shape))| {
            let known = signature.values.get(at).cloned().flatten();
            let known = known.filter(|value| value.shape() == shape.as_slice());
            known.map_or_else(|| Tensor::zeros(info.element_type, shape), Ok)
        });
        let tensors = tensors
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| RunError::Failed { source: e.into() })?;
        self.run(&tensors, &Stop::default()).map(drop)
    }

    fn run(&self, inputs: &[Tensor], stop: &Stop) -> Result<Vec<Tensor>, RunError> {
        self.run_in(&self.sessions, inputs, stop)
    }

    fn run_part(&self, inputs: &[Tensor], stop: &Stop) -> Result<Vec<Tensor>, RunError> {
        let sessions = self.part_sessions.as_ref().unwrap_or(&self.sessions);
        self.run_in(sessions, inputs, stop)
    }

    fn at_once(&self) -> Option<usize> {
        Some(self.sessions.pool.lock().most)
    }

    fn signatures(&self) -> Vec<InputSignature> {
        self.signatures.all()
    }

    fn stats(&self) -> Stats {
        self.signatures.stats()
    }

    fn provider(&self) -> &str {
        self.provider
    }

    fn provider_notes(&self) -> &[String] {
        &self.notes
    }
}

impl Sessions {
    /// At most `most` sessions, of which `idle` exist.
    fn new(threads: usize, idle: Vec<Raw>, most: usize) -> Self {
        let made = idle.len();
        Self {
            threads,
            pool: Mutex::new(Pool { idle, made, most }),
            freed: Condvar::new(),
        }
    }

    /// Takes an idle session, or creates one if all are busy and the limit allows it. Return it with [`Self::give`].
    fn take(&self, maker: &Maker) -> Result<Raw, RunError> {
        let mut pool = self.pool.lock();
        loop {
            if let Some(session) = pool.idle.pop() {
                return Ok(session);
            }
            if pool.made < pool.most {
                pool.made += 1;
                drop(pool);
                let error = match guard(|| maker.make(self.threads, &maker.bytes)) {
                    Ok(Ok(session)) => return Ok(session),
                    Ok(Err(e)) => RunError::Failed { source: e.into() },
                    Err(message) => RunError::Panicked { message },
                };
                self.give(None);
                return Err(error);
            }
            self.freed.wait(&mut pool);
        }
    }

    /// Returns a session to the pool; without one, the next run creates it.
    fn give(&self, session: Option<Raw>) {
        let mut pool = self.pool.lock();
        match session {
            Some(session) => pool.idle.push(session),
            None => pool.made -= 1,
        }
        drop(pool);
        self.freed.notify_one();
    }
}

impl Maker {
    fn make(&self, threads: usize, bytes: &[u8]) -> ort::Result<Raw> {
        let mut builder = Raw::builder(&self.environment)?
            .with_log_level(LogLevel::Warning)?
            .with_intra_threads(threads)?
            .with_inter_threads(1)?
            // Several threads are configured for speed: threads that sleep between operators make a run up to three times as slow.
            .with_intra_op_spinning(threads > 1)?;
        for provider in &self.providers {
            provider.register(&mut builder)?;
        }
        builder.commit_from_memory(bytes)
    }
}

impl fmt::Debug for OrtSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "OrtSession({}, {} threads)",
            self.provider, self.sessions.threads
        )
    }
}

/// The file, without the weights among its inputs if necessary: the runtime does not fold inputs.
fn without_weights_as_inputs<'a>(
    file: &ModelProto,
    graph: &GraphProto,
    bytes: &'a [u8],
) -> Cow<'a, [u8]> {
    let weights: HashSet<&str> = graph
        .initializer
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    let weight = |name: &str| weights.contains(name);
    if file.ir_version < WEIGHTS_ARE_NO_INPUTS || !graph.input.iter().any(|it| weight(&it.name)) {
        return Cow::Borrowed(bytes);
    }
    let mut slim = file.clone();
    if let Some(slim) = &mut slim.graph {
        slim.input.retain(|input| !weight(&input.name));
    }
    Cow::Owned(slim.encode_to_vec())
}
