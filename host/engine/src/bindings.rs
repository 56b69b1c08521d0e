//! Bindings of every interface of `hotshoe:pipeline`, generated from `wit/`.
#![allow(missing_docs, reason = "generated; the WIT files are documented")]

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
        "hotshoe:pipeline/tensors.tensor": crate::host::HeldTensor,
        "hotshoe:pipeline/vision.image": crate::host::HeldImage,
        "hotshoe:pipeline/infer.model": crate::host::NamedModel,
    },
    imports: { default: trappable },
});
