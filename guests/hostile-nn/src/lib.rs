//! A stage that misuses `wasi:nn` as the sample's payload says, for tests of the host.

use common::nn::graph::{ExecutionTarget, GraphEncoding, load, load_by_name};
use common::nn::tensor::{Tensor as NnTensor, TensorType};
use common::nn::{from_nn, run};
use hotshoe_sdk::prelude::*;

/// The angle classifier's input.
const SHAPE: [u32; 4] = [1, 3, 48, 192];

/// What it takes at a time when it makes tensors without end.
const BOMB_BYTES: u32 = 8 << 20;

struct HostileNn;

impl Stage for HostileNn {
    fn process(sample: &Sample) -> Result<Insight> {
        match sample.read().trim_ascii() {
            b"load" => {
                load(
                    &[b"a model of its own".to_vec()],
                    GraphEncoding::Onnx,
                    ExecutionTarget::Cpu,
                )
                .map_err(from_nn)?;
                Ok(Insight::Embedding(Vec::new()))
            }
            b"unknown" => {
                load_by_name("a-model-that-is-not-granted").map_err(from_nn)?;
                Ok(Insight::Embedding(Vec::new()))
            }
            b"bomb" => tensors_for_ever(),
            _ => {
                let elements = SHAPE.iter().product::<u32>() as usize;
                let zeros = vec![0; elements * size_of::<f32>()];
                let (_, scores) = run(
                    "classify-angle",
                    NnTensor::new(&SHAPE, TensorType::Fp32, &zeros),
                )?;
                Ok(Insight::Embedding(scores))
            }
        }
    }
}

fn tensors_for_ever() -> ! {
    let bytes = vec![0; BOMB_BYTES as usize];
    let mut kept = Vec::new();
    loop {
        kept.push(NnTensor::new(&[BOMB_BYTES], TensorType::U8, &bytes));
    }
}

hotshoe_sdk::stage!(HostileNn);
