//! A stage that misuses `wasi:nn` as the sample's payload says, for tests of the host.

use common::nn::graph::{ExecutionTarget, GraphEncoding, load, load_by_name};
use common::nn::tensor::{Tensor as NnTensor, TensorType};
use common::nn::{from_nn, run};
use hotshoe_sdk::ElementType;
use hotshoe_sdk::infer::Model;
use hotshoe_sdk::prelude::*;

/// The angle classifier's input.
const SHAPE: [u32; 4] = [1, 3, 48, 192];
/// An input of the recogniser, whose output is several times as large.
const WIDE: [u32; 4] = [1, 3, 48, 320];
/// An input of the detector that keeps it busy for seconds.
const HUGE: [u32; 4] = [1, 3, 1536, 1536];

/// The size of each tensor when it makes tensors without end.
const BOMB_BYTES: u32 = 8 << 20;

struct HostileNn;

impl Stage for HostileNn {
    fn process(sample: &Sample) -> Result<Insight> {
        let nothing = Ok(Insight::Embedding(Vec::new()));
        match sample.read().trim_ascii() {
            b"load" => {
                let own = [b"a model of its own".to_vec()];
                load(&own, GraphEncoding::Onnx, ExecutionTarget::Cpu).map_err(from_nn)?;
                nothing
            }
            b"unknown" => {
                load_by_name("a-model-that-there-is-not").map_err(from_nn)?;
                nothing
            }
            // It is in the release, but not for this component.
            b"foreign" => {
                load_by_name("foreign").map_err(from_nn)?;
                nothing
            }
            b"bomb" => tensors_for_ever(BOMB_BYTES),
            b"count" => tensors_for_ever(1),
            b"graphs" => graphs_for_ever(),
            b"outputs" => outputs_without_room(),
            b"bf16" => scores(NnTensor::new(&SHAPE, TensorType::Bf16, &zeros(&SHAPE, 2))),
            b"u8" => scores(NnTensor::new(&SHAPE, TensorType::U8, &zeros(&SHAPE, 1))),
            b"short" => scores(NnTensor::new(&SHAPE, TensorType::Fp32, &[0; 12])),
            b"name" => wrong_name(),
            b"slow" => {
                run("detect", f32_zeros(&HUGE))?;
                nothing
            }
            b"slow-infer" => {
                let input = Tensor::from_bytes(ElementType::F32, &HUGE, &zeros(&HUGE, 4))?;
                Model::open("detect")?.run(&[("x".to_owned(), &input)])?;
                nothing
            }
            _ => scores(f32_zeros(&SHAPE)),
        }
    }
}

fn zeros(shape: &[u32], size: usize) -> Vec<u8> {
    vec![0; shape.iter().product::<u32>() as usize * size]
}

fn f32_zeros(shape: &[u32]) -> NnTensor {
    NnTensor::new(shape, TensorType::Fp32, &zeros(shape, 4))
}

fn scores(input: NnTensor) -> Result<Insight> {
    let (_, scores) = run("classify-angle", input)?;
    Ok(Insight::Embedding(scores))
}

fn tensors_for_ever(size: u32) -> ! {
    let bytes = vec![0; size as usize];
    let mut kept = Vec::new();
    loop {
        kept.push(NnTensor::new(&[size], TensorType::U8, &bytes));
    }
}

fn graphs_for_ever() -> Result<Insight> {
    let mut kept = Vec::new();
    loop {
        kept.push(load_by_name("classify-angle").map_err(from_nn)?);
    }
}

/// Fills its tensor-mib of 64 MiB except for the size of the recogniser's input, into which its output does not fit.
fn outputs_without_room() -> Result<Insight> {
    let input = f32_zeros(&WIDE);
    let left = (64 << 20) - WIDE.iter().product::<u32>() * 4;
    let _kept = [left / 2, left - left / 2]
        .map(|size| NnTensor::new(&[size], TensorType::U8, &vec![0; size as usize]));
    run("recognise", input)?;
    Ok(Insight::Embedding(Vec::new()))
}

fn wrong_name() -> Result<Insight> {
    let graph = load_by_name("classify-angle").map_err(from_nn)?;
    let context = graph.init_execution_context().map_err(from_nn)?;
    let inputs = vec![("no-such-input".to_owned(), f32_zeros(&SHAPE))];
    context.compute(inputs).map_err(from_nn)?;
    Ok(Insight::Embedding(Vec::new()))
}

hotshoe_sdk::stage!(HostileNn);
