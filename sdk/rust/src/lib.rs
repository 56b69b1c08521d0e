//! Write components for Hotshoe in Rust.
//!
//! Implement the trait of your world for a type, and give the type to the macro of the world:
//!
//! ```
//! use hotshoe_sdk::prelude::*;
//!
//! struct Brightness;
//!
//! impl Postprocessor for Brightness {
//!     fn interpret(_: &Sample, outputs: &[NamedTensor]) -> Result<Insight> {
//!         let scores = outputs.only()?.view_f32([Some(1), None])?;
//!         let mean = scores.elements().iter().sum::<f32>() / scores.elements().len() as f32;
//!         info!("mean {mean}");
//!         Ok(Insight::Scalars(vec![Scalar { name: "brightness".into(), value: mean.into(), unit: String::new() }]))
//!     }
//! }
//!
//! hotshoe_sdk::postprocessor!(Brightness);
//! # fn main() {}
//! ```
//!
//! The crate is a `cdylib`, and `hotshoe build` makes the component. For `wasm32-unknown-unknown`, its default, the component imports no WASI;
//! cargo alone makes a module, which `hotshoe build` encodes as a component. For `wasm32-wasip2`, cargo makes a component; Rust's standard library
//! then imports WASI, and the release must grant `wasi`. A component imports only those interfaces of Hotshoe that it calls, and needs only their
//! grants.

mod bindings;
mod error;
pub mod governor;
mod log;
pub mod nn;
mod panics;
pub mod state;
mod tensors;
mod worlds;

pub use bindings::hotshoe::pipeline::{clock, config, data, infer, metrics, vision};
pub use error::{Error, Result};
pub use tensors::{Named, TensorExt, View};
pub use worlds::{Policy, Postprocessor, Preprocessor, Stage};

/// Plain data: insights, actions, geometry.
pub use bindings::hotshoe::pipeline::types;

/// The sample and the tensor, both held by the host.
pub use bindings::hotshoe::pipeline::{
    samples::Sample, tensors::ElementType, tensors::NamedTensor, tensors::Tensor,
};

/// The items that most components need.
pub mod prelude {
    pub use crate::types::{
        Action, Alert, Class, CustomInsight, Detection, DeviceContext, ErrorCode, Insight, Mask,
        Message, Point, Rect, Scalar, Severity, TextLine,
    };
    pub use crate::{
        Error, NamedTensor, Policy, Postprocessor, Preprocessor, Result, Sample, Stage, Tensor,
    };
    pub use crate::{Named, TensorExt, View};
    pub use crate::{debug, error, info, trace, warn};
}

/// For the macros alone.
#[doc(hidden)]
pub mod private {
    pub use crate::bindings::hotshoe::pipeline::log::{Level, log};
    pub use crate::governor::bindings as governor;
    pub use crate::panics::report as report_panics;
    pub use crate::worlds::{policy, postprocessor, preprocessor, stage};
}

impl vision::Normalisation {
    /// BGR values from -1 to 1 in an NCHW tensor, the input of models from PaddleOCR: mean and standard deviation 0.5.
    pub fn bgr() -> Self {
        let half = (0.5, 0.5, 0.5);
        Self {
            layout: vision::Layout::Nchw,
            channels: vision::Channels::Bgr,
            scale: 1.0 / 255.0,
            mean: half,
            std: half,
        }
    }
}
