//! Runs one model through `infer` and through `wasi:nn`, and returns whether the results are equal byte by byte. For tests of the host.

use common::nn::graph::load_by_name;
use common::nn::tensor::{Tensor as NnTensor, TensorType};
use common::{line_tensor, nn};
use hotshoe_sdk::infer::Model;
use hotshoe_sdk::prelude::*;
use label_reader::sizes;

struct CompareNn;

impl Stage for CompareNn {
    fn process(sample: &Sample) -> Result<Insight> {
        let line = line_tensor(sample, |_| sizes::ANGLE_WIDTH)?;
        let bytes = line.read_bytes();
        let theirs = NnTensor::new(&line.shape(), TensorType::Fp32, &bytes);
        must(theirs.data() == bytes, "the input comes back as it was")?;
        must(
            theirs.dimensions() == line.shape() && matches!(theirs.ty(), TensorType::Fp32),
            "so do its dimensions and its type",
        )?;
        let copy = Tensor::from_f32(&line.shape(), &line.read_f32()?)?;
        must(copy.read_bytes() == bytes, "a copy by f32 is the same")?;

        let ours = Model::open("classify-angle")?.run(&[("x".to_owned(), &copy)])?;
        let graph = load_by_name("classify-angle").map_err(nn::from_nn)?;
        let context = graph.init_execution_context().map_err(nn::from_nn)?;
        let outputs = context
            .compute(vec![("x".to_owned(), theirs)])
            .map_err(nn::from_nn)?;
        must(ours.len() == outputs.len(), "as many outputs")?;
        for (ours, (name, theirs)) in ours.iter().zip(&outputs) {
            must(ours.name == *name, "outputs in the same order")?;
            must(ours.tensor.shape() == theirs.dimensions(), "their shapes")?;
            must(ours.tensor.read_bytes() == theirs.data(), "their bytes")?;
        }
        unfit()?;
        Ok(Insight::Embedding(ours.only()?.read_f32()?))
    }
}

/// A tensor can be made even if no model takes it.
fn unfit() -> Result<()> {
    let odd = NnTensor::new(&[3, 5], TensorType::Bf16, &[1, 2, 3]);
    must(
        odd.dimensions() == [3, 5] && odd.data() == [1, 2, 3],
        "an odd tensor comes back as it was",
    )?;
    must(matches!(odd.ty(), TensorType::Bf16), "so does its type")
}

fn must(holds: bool, what: &str) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::internal(format_args!("it does not hold: {what}")))
}

hotshoe_sdk::stage!(CompareNn);
