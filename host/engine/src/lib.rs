//! The only crate that depends on wasmtime: it turns verified components into instances that process one sample at a time.
//!
//! [`Engine::prepare`] takes a component only together with its [`hotshoe_trust::Verified`] release, and checks its bytes against
//! the signed digest before anything is compiled or loaded. It returns a [`Component`]; each worker thread makes its own
//! [`Instance`] of it. A trap, a missed deadline or an exceeded limit fails the current sample with a [`Fault`], and the instance
//! is replaced at the next call.
//!
//! Stores are synchronous: a guest's call runs on the caller's thread to its end, so workers are threads, not tasks.
#![deny(unsafe_code)] // allowed in three files: `cache.rs`, to load code that this crate compiled, `vector.rs` and `host/lists.rs`

mod agreement;
mod assets;
mod asynchronous;
mod backtrace;
mod bare;
mod bounds;
mod ca_error;
mod cache;
mod call_end;
mod code;
mod compiler;
mod component;
mod convert;
mod core_module;
mod engine;
mod engine_error;
mod fault;
mod governor;
mod host;
mod insight;
mod insight_defect;
mod instance;
mod kept_back;
mod limits;
mod linked_component;
mod live;
mod memory;
mod message;
mod prepare_error;
mod priority;
mod sample;
mod shared_texts;
mod sources;
mod state;
mod units;
mod vector;
mod work;
mod worker_error;

pub use agreement::agreement;
pub use assets::ComponentAssets;
pub use bare::{BareInstance, BarePolicy};
pub use ca_error::CaError;
pub use compiler::{
    CompileInterrupt, CompileLimits, MAX_COMPILE_MEMORY_MIB, MAX_CPU_SECONDS,
    MIN_COMPILE_MEMORY_MIB, RaisedInterrupt, compile_worker,
};
pub use component::Component;
pub use engine::{EPOCH_TICK, Engine, EngineOptions};
pub use engine_error::EngineError;
pub use fault::{ErrorCode, Failure, Fault};
pub use governor::{
    Battery, CoolingDevice, DeviceState, Drive, Latency, MAX_INTERVAL_SECONDS, MAX_PLAN_ITEMS,
    MAX_REASON_BYTES, MAX_REST_SECONDS, MeasuredMode, ModelRuns, Plan, PlanAlert, Power, Pressure,
    Processor, Queue, Reasoned, Space, ThermalZone, Window,
};
pub use insight::{
    Action, Class, Detection, DeviceContext, Insight, MAX_CONTENT_TYPE_BYTES, Point, Rect, Scalar,
    Severity, TextLine,
};
pub use instance::Instance;
pub use kept_back::KeptBack;
pub use live::Usage;
pub use memory::{MemoryChoice, MemoryMode};
pub use prepare_error::{PrepareError, check_encoding};
pub use priority::low_priority;
pub use sample::Sample;
pub use shared_texts::SharedTexts;
pub use sources::{MAX_SOURCE_INSTANCE_BYTES, MAX_SOURCE_INSTANCES};
pub use state::{
    MAX_SNAPSHOT_BYTES, MAX_STATE_BYTES, MAX_STATE_ENTRIES, MAX_STATE_KEY_BYTES,
    MAX_STATE_VALUE_BYTES, SnapshotError, StateSnapshot,
};
pub use work::{TooComplex, check_work};
pub use worker_error::WorkerError;
