//! Bindings of every interface of `hotshoe:pipeline`, in each version, of `hotshoe:governor` and of `wasi:nn`, generated from `wit/`.
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "generated; the WIT files are documented"
)]

wasmtime::component::bindgen!({
    path: "../../wit",
    inline: "
        package hotshoe:host;
        world host {
            include hotshoe:pipeline/imports@0.1.0;
            export hotshoe:pipeline/preprocess@0.1.0;
            export hotshoe:pipeline/postprocess@0.1.0;
            export hotshoe:pipeline/decide@0.1.0;
            export hotshoe:pipeline/process@0.1.0;
        }
    ",
    world: "hotshoe:host/host",
    with: {
        "hotshoe:pipeline/samples.sample": crate::sample::Sample,
        "hotshoe:pipeline/tensors.tensor": crate::host::CountedTensor,
        "hotshoe:pipeline/vision.image": crate::host::CountedImage,
        "hotshoe:pipeline/infer.model": crate::host::OpenModel,
    },
    imports: { default: trappable },
});

/// `hotshoe:pipeline@0.2.0`. Where its types are those of 0.1.0, they are the same ones here.
pub(crate) mod v0_2 {
    wasmtime::component::bindgen!({
        path: "../../wit/0.2.0",
        inline: "
            package hotshoe:host;
            world host {
                include hotshoe:pipeline/imports@0.2.0;
                export hotshoe:pipeline/admit@0.2.0;
                export hotshoe:pipeline/preprocess@0.2.0;
                export hotshoe:pipeline/process@0.2.0;
            }
        ",
        world: "hotshoe:host/host",
        with: {
            "hotshoe:pipeline/types@0.2.0": crate::host::bindings::hotshoe::pipeline::types,
            "hotshoe:pipeline/samples@0.2.0": crate::host::bindings::hotshoe::pipeline::samples,
            "hotshoe:pipeline/tensors@0.2.0": crate::host::bindings::hotshoe::pipeline::tensors,
            "hotshoe:pipeline/vision.image": crate::host::CountedImage,
            "hotshoe:pipeline/infer.model": crate::host::OpenModel,
        },
        imports: { default: trappable },
    });

    pub(crate) use exports::hotshoe::pipeline::admit::Verdict;
    pub(crate) use exports::hotshoe::pipeline::preprocess::Prepared;
    pub(crate) use exports::hotshoe::pipeline::process::Processed;
    pub(crate) use hotshoe::pipeline::{clock, config, fault, infer, log, metrics, state, vision};
}

/// `hotshoe:governor`: an export, without imports of its own.
pub(crate) mod governor {
    wasmtime::component::bindgen!({
        path: "../../wit/governor",
        world: "hotshoe:governor/governor",
    });

    pub(crate) use exports::hotshoe::governor::govern::*;
}

/// `wasi:nn`.
pub(crate) mod nn {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/wasi-nn",
        world: "wasi:nn/ml",
        with: {
            "wasi:nn/graph.graph": crate::host::nn::Graph,
            "wasi:nn/inference.graph-execution-context": crate::host::nn::Context,
            "wasi:nn/tensor.tensor": crate::host::nn::NnTensor,
            "wasi:nn/errors.error": crate::host::nn::NnError,
        },
        imports: { default: trappable },
    });

    pub(crate) use wasi::nn::{errors, graph, inference, tensor};
}
