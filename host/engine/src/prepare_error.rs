use std::collections::BTreeSet;
use std::path::PathBuf;

use hotshoe_trust::{CapabilityError, Digest, WASI_NN, World};

use crate::asynchronous::is_async;
use crate::ca_error::CaError;
use crate::core_module::core_module;
use crate::engine_error::EngineError;
use crate::work::TooComplex;
use crate::worker_error::WorkerError;

/// Why a component of a release cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The release has no component of that name.
    #[error("the release has no component `{0}`")]
    Unknown(String),
    /// The bytes are not those that the release signed.
    #[error(
        "component `{component}`: the bytes have digest {found}, the release signed {expected}"
    )]
    Mismatch {
        /// Its name in the release.
        component: String,
        /// The signed digest.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// It lacks a capability.
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    /// A folder of the device is missing.
    #[error(
        "component `{component}` wants the folder `{path}`, but {} cannot be opened; create it, or correct `[folders.\"{path}\"]` in hotshoe.toml",
        folder.display()
    )]
    Folder {
        /// Its name in the release.
        component: String,
        /// The guest path.
        path: String,
        /// The folder on the device.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificates that HTTPS is to trust cannot be used.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The release lists a model or data file for the component that it does not have.
    #[error("component `{component}` uses {kind} `{name}`, which the release does not have")]
    Missing {
        /// Its name in the release.
        component: String,
        /// `model` or `data file`.
        kind: &'static str,
        /// What is missing.
        name: String,
    },
    /// The bytes are a core WebAssembly module, as compilers make it for `wasm32-unknown-unknown`, `wasm32-wasip1` and Emscripten.
    #[error(
        "component `{component}` is a core WebAssembly module, not a component; {}",
        remedy(imports)
    )]
    CoreModule {
        /// Its name in the release.
        component: String,
        /// The modules that it imports from.
        imports: BTreeSet<String>,
    },
    /// The component uses the asynchronous ABI of components, as WASI 0.3 has it.
    #[error(
        "component `{component}` uses the asynchronous ABI of components (WASI 0.3), which this host does not support; build it with \
         `componentize-qjs --sync`, or `jco componentize --backend qjs --backend-qjs-disable-async`, and without `async` in the world and its functions"
    )]
    Async {
        /// Its name in the release.
        component: String,
    },
    /// The bytes are not a WebAssembly component that this host can run.
    #[error("component `{component}` cannot be compiled; build it again")]
    Compile {
        /// Its name in the release.
        component: String,
        /// The error of the compiler.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Compiling it could take too long, or too much memory.
    #[error("component `{component}` is too complex to compile")]
    TooComplex {
        /// Its name in the release.
        component: String,
        /// The limit that it exceeds.
        #[source]
        what: TooComplex,
    },
    /// Compiling it took too long.
    #[error(
        "component `{component}` was not compiled within {minutes} minutes; make it smaller, or build it with fewer inlined functions"
    )]
    TooSlow {
        /// Its name in the release.
        component: String,
        /// The limit.
        minutes: u64,
    },
    /// Compiling it took too much memory.
    #[error(
        "compiling component `{component}` took more than the {mib} MiB of `[compile] memory-mib`; raise it in hotshoe.toml, or make the component smaller"
    )]
    CompileMemory {
        /// Its name in the release.
        component: String,
        /// The limit.
        mib: u64,
    },
    /// Compiling it took too much processor time.
    #[error(
        "compiling component `{component}` took more than the {seconds} s of processor time of `[compile] cpu-seconds`; raise it in hotshoe.toml, or make the component smaller"
    )]
    CompileCpu {
        /// Its name in the release.
        component: String,
        /// The limit.
        seconds: u64,
    },
    /// The compiler crashed.
    #[error("the compiler failed on component `{component}`; please report it")]
    Compiler {
        /// Its name in the release.
        component: String,
    },
    /// The compilation was interrupted, because the daemon stops or an operator's command must not wait for it.
    #[error("the compilation of component `{component}` was interrupted")]
    Interrupted {
        /// Its name in the release.
        component: String,
    },
    /// The process that compiles failed.
    #[error("component `{component}` was not compiled")]
    Worker {
        /// Its name in the release.
        component: String,
        /// Why.
        #[source]
        source: WorkerError,
    },
    /// It does not implement the world that the release states.
    #[error(
        "component `{component}` is not a {expected}: it does not export {export} (it exports: {found})"
    )]
    WrongWorld {
        /// Its name in the release.
        component: String,
        /// The world that the release states.
        expected: World,
        /// The interface that this world exports, in each version.
        export: String,
        /// Its exports.
        found: String,
    },
    /// Its imports or exports have other types than their interfaces.
    #[error("component `{component}` does not match the interfaces that it imports or exports")]
    Link {
        /// Its name in the release.
        component: String,
        /// The mismatch.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An engine that counts fuel could not be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl PrepareError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown_component",
            Self::Mismatch { .. } => "component_mismatch",
            Self::Capability(error) => error.name(),
            Self::Folder { .. } => "folder_missing",
            Self::Ca(_) => "network_ca",
            Self::Missing { .. } => "missing_part",
            Self::CoreModule { .. } => "core_module",
            Self::Async { .. } => "async_component",
            Self::Compile { .. } => "not_a_component",
            Self::TooComplex { .. } => "too_complex",
            Self::TooSlow { .. } => "compile_deadline",
            Self::CompileMemory { .. } => "compile_memory",
            Self::CompileCpu { .. } => "compile_cpu",
            Self::Compiler { .. } => "compiler_failed",
            Self::Interrupted { .. } => "interrupted",
            Self::Worker { .. } => "compile_worker",
            Self::WrongWorld { .. } => "wrong_world",
            Self::Link { .. } => "wrong_interface",
            Self::Engine(_) => "engine",
        }
    }
}

/// Refuses bytes that no device can load as the component `name`, as far as their encoding shows that. Compiles nothing.
///
/// # Errors
/// [`PrepareError::CoreModule`], [`PrepareError::Async`].
pub fn check_encoding(name: &str, bytes: &[u8]) -> Result<(), PrepareError> {
    if let Some(imports) = core_module(bytes) {
        return Err(PrepareError::CoreModule {
            component: name.to_owned(),
            imports,
        });
    }
    if is_async(bytes) {
        return Err(PrepareError::Async {
            component: name.to_owned(),
        });
    }
    Ok(())
}

/// Module name of wasi-nn's older ABI.
const WITX_NN: &str = "wasi_ephemeral_nn";
/// Module name of WASI's older ABI.
const WASI_P1: &str = "wasi_snapshot_preview1";

/// How to make a component of a core module, depending on its imports.
fn remedy(imports: &BTreeSet<String>) -> String {
    const BUILD: &str = "build it for wasm32-wasip2, or with hotshoe-sdk, or make a component of it with `wasm-tools component new`";
    if imports.contains(WITX_NN) {
        format!(
            "it imports `{WITX_NN}`, wasi-nn's older ABI, which this host does not serve: use {WASI_NN} with `load-by-name`, and {BUILD}"
        )
    } else if imports.contains(WASI_P1) {
        format!(
            "it imports `{WASI_P1}`: {BUILD} and its adapter (`--adapt wasi_snapshot_preview1.reactor.wasm`)"
        )
    } else {
        BUILD.to_owned()
    }
}
