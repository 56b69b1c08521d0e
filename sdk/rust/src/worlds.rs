//! The four worlds: a trait and a macro for each.

use crate::types::{Action, DeviceContext, Insight};
use crate::{NamedTensor, Result, Sample};

/// Sample to tensors: the world `preprocessor`.
pub trait Preprocessor {
    /// Makes the inputs of the next model, under the model's own input names.
    fn prepare(sample: &Sample) -> Result<Vec<NamedTensor>>;
}

/// Tensors to insight: the world `postprocessor`.
pub trait Postprocessor {
    /// Interprets the outputs of the model before it, under the model's own output names.
    fn interpret(sample: &Sample, outputs: &[NamedTensor]) -> Result<Insight>;
}

/// Insight to actions: the world `policy`.
pub trait Policy {
    /// Decides what happens to an insight. An empty list publishes nothing.
    fn decide(insight: Insight, device: DeviceContext) -> Result<Vec<Action>>;
}

/// Sample to insight, for logic that runs several models itself: the world `stage`.
pub trait Stage {
    /// Whether the text of a panic reaches the host. It uses the import `tensors`; set it to false for a stage that imports `wasi:nn` only.
    const REPORTS_PANICS: bool = true;

    /// Makes an insight of a sample.
    fn process(sample: &Sample) -> Result<Insight>;
}

/// The exports of the world `preprocessor`, as wit-bindgen makes them.
#[allow(
    missing_docs,
    clippy::all,
    clippy::restriction,
    reason = "generated; the documentation is in wit/"
)]
pub mod preprocessor {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package hotshoe:sdk;
            world preprocessor {
                export hotshoe:pipeline/preprocess@0.1.0;
            }
        ",
        world: "hotshoe:sdk/preprocessor",
        with: {
            "hotshoe:pipeline/types@0.1.0": crate::bindings::hotshoe::pipeline::types,
            "hotshoe:pipeline/samples@0.1.0": crate::bindings::hotshoe::pipeline::samples,
            "hotshoe:pipeline/tensors@0.1.0": crate::bindings::hotshoe::pipeline::tensors,
        },
        pub_export_macro: true,
        default_bindings_module: "hotshoe_sdk::private::preprocessor",
    });
}

/// Makes the crate a component of the world `preprocessor`: `preprocessor!(MyType)`, where `MyType` is a [`Preprocessor`].
#[macro_export]
macro_rules! preprocessor {
    ($component:ty) => {
        struct HotshoeComponent;

        impl $crate::private::preprocessor::exports::hotshoe::pipeline::preprocess::Guest for HotshoeComponent {
            fn prepare(sample: &$crate::Sample) -> ::std::result::Result<::std::vec::Vec<$crate::NamedTensor>, $crate::types::Error> {
                $crate::private::report_panics();
                <$component as $crate::Preprocessor>::prepare(sample).map_err($crate::Error::into_wit)
            }
        }

        $crate::private::preprocessor::export!(HotshoeComponent with_types_in $crate::private::preprocessor);
    };
}

/// The exports of the world `postprocessor`, as wit-bindgen makes them.
#[allow(
    missing_docs,
    clippy::all,
    clippy::restriction,
    reason = "generated; the documentation is in wit/"
)]
pub mod postprocessor {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package hotshoe:sdk;
            world postprocessor {
                export hotshoe:pipeline/postprocess@0.1.0;
            }
        ",
        world: "hotshoe:sdk/postprocessor",
        with: {
            "hotshoe:pipeline/types@0.1.0": crate::bindings::hotshoe::pipeline::types,
            "hotshoe:pipeline/samples@0.1.0": crate::bindings::hotshoe::pipeline::samples,
            "hotshoe:pipeline/tensors@0.1.0": crate::bindings::hotshoe::pipeline::tensors,
        },
        pub_export_macro: true,
        default_bindings_module: "hotshoe_sdk::private::postprocessor",
    });
}

/// Makes the crate a component of the world `postprocessor`: `postprocessor!(MyType)`, where `MyType` is a [`Postprocessor`].
#[macro_export]
macro_rules! postprocessor {
    ($component:ty) => {
        struct HotshoeComponent;

        impl $crate::private::postprocessor::exports::hotshoe::pipeline::postprocess::Guest for HotshoeComponent {
            fn interpret(sample: &$crate::Sample, outputs: ::std::vec::Vec<$crate::NamedTensor>) -> ::std::result::Result<$crate::types::Insight, $crate::types::Error> {
                $crate::private::report_panics();
                <$component as $crate::Postprocessor>::interpret(sample, &outputs).map_err($crate::Error::into_wit)
            }
        }

        $crate::private::postprocessor::export!(HotshoeComponent with_types_in $crate::private::postprocessor);
    };
}

/// The exports of the world `policy`, as wit-bindgen makes them.
#[allow(
    missing_docs,
    clippy::all,
    clippy::restriction,
    reason = "generated; the documentation is in wit/"
)]
pub mod policy {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package hotshoe:sdk;
            world policy {
                export hotshoe:pipeline/decide@0.1.0;
            }
        ",
        world: "hotshoe:sdk/policy",
        with: {
            "hotshoe:pipeline/types@0.1.0": crate::bindings::hotshoe::pipeline::types,
        },
        pub_export_macro: true,
        default_bindings_module: "hotshoe_sdk::private::policy",
    });
}

/// Makes the crate a component of the world `policy`: `policy!(MyType)`, where `MyType` is a [`Policy`].
#[macro_export]
macro_rules! policy {
    ($component:ty) => {
        struct HotshoeComponent;

        impl $crate::private::policy::exports::hotshoe::pipeline::decide::Guest for HotshoeComponent {
            fn decide(insight: $crate::types::Insight, device: $crate::types::DeviceContext) -> ::std::result::Result<::std::vec::Vec<$crate::types::Action>, $crate::types::Error> {
                $crate::private::report_panics();
                <$component as $crate::Policy>::decide(insight, device).map_err($crate::Error::into_wit)
            }
        }

        $crate::private::policy::export!(HotshoeComponent with_types_in $crate::private::policy);
    };
}

/// The exports of the world `stage`, as wit-bindgen makes them.
#[allow(
    missing_docs,
    clippy::all,
    clippy::restriction,
    reason = "generated; the documentation is in wit/"
)]
pub mod stage {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package hotshoe:sdk;
            world stage {
                export hotshoe:pipeline/process@0.1.0;
            }
        ",
        world: "hotshoe:sdk/stage",
        with: {
            "hotshoe:pipeline/types@0.1.0": crate::bindings::hotshoe::pipeline::types,
            "hotshoe:pipeline/samples@0.1.0": crate::bindings::hotshoe::pipeline::samples,
        },
        pub_export_macro: true,
        default_bindings_module: "hotshoe_sdk::private::stage",
    });
}

/// Makes the crate a component of the world `stage`: `stage!(MyType)`, where `MyType` is a [`Stage`].
#[macro_export]
macro_rules! stage {
    ($component:ty) => {
        struct HotshoeComponent;

        impl $crate::private::stage::exports::hotshoe::pipeline::process::Guest for HotshoeComponent {
            fn process(sample: &$crate::Sample) -> ::std::result::Result<$crate::types::Insight, $crate::types::Error> {
                if <$component as $crate::Stage>::REPORTS_PANICS {
                    $crate::private::report_panics();
                }
                <$component as $crate::Stage>::process(sample).map_err($crate::Error::into_wit)
            }
        }

        $crate::private::stage::export!(HotshoeComponent with_types_in $crate::private::stage);
    };
}
