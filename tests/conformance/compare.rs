//! When an output is the expected one.

use std::path::Path;

use half::f16;
use hotshoe_infer::{ElementType, Tensor};

/// Relative and absolute tolerance of the ONNX project's own runner (`onnx/backend/test/loader/__init__.py`): a value passes
/// if it is off by no more than `ABSOLUTE + RELATIVE * |expected|` (`numpy.testing.assert_allclose`).
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-7;

/// Results of a Fourier transform are sums over all of its input: their absolute tolerance is this part of the largest
/// value that is expected, about eight steps of an `f32`. The values that were recorded were computed in `f64`.
const FOURIER: f64 = 1e-6;
/// tract's hyperbolic tangent and sigmoid are rational functions, exact to about this much.
const RATIONAL: f64 = 1e-6;

/// How far off a value of this case may be, beside the relative tolerance.
fn absolute(case: &str, want: &[f64]) -> f64 {
    if case.starts_with("test_dft") || case.starts_with("test_stft") {
        FOURIER * want.iter().fold(0.0, |most, value| value.abs().max(most))
    } else if case == "test_gru_seq_length" {
        RATIONAL
    } else {
        ABSOLUTE
    }
}

/// Cases that draw random numbers: no other generator gives the recorded ones, so that only type and shape are compared.
fn is_random(case: &str) -> bool {
    let dropout = case.starts_with("test_training_dropout") && !case.contains("zero_ratio");
    dropout || case.starts_with("test_bernoulli")
}

/// Compares type, shape and values; the error names the first difference.
pub(crate) fn same(case: &Path, got: &Tensor, want: &Tensor) -> Result<(), String> {
    if got.element_type() != want.element_type() {
        return Err(format!(
            "{} instead of {}",
            got.element_type(),
            want.element_type()
        ));
    }
    if got.shape() != want.shape() {
        return Err(format!(
            "shape {:?} instead of {:?}",
            got.shape(),
            want.shape()
        ));
    }
    let name = case.file_name().unwrap_or_default().to_string_lossy();
    if is_random(&name) || got.bytes() == want.bytes() {
        return Ok(());
    }
    let (got, want) = (values(got), values(want));
    let absolute = absolute(&name, &want);
    let pairs = got.iter().copied().zip(want.iter().copied());
    let mut differences = pairs
        .enumerate()
        .filter(|(_, (got, want))| !near(*got, *want, absolute));
    let Some((position, (first, expected))) = differences.next() else {
        return Ok(());
    };
    Err(format!(
        "{} of {} values differ, the first at {position}: {first} instead of {expected}",
        differences.count() + 1,
        want.len()
    ))
}

fn near(got: f64, want: f64, absolute: f64) -> bool {
    got == want
        || (got.is_nan() && want.is_nan())
        || (got - want).abs() <= absolute + RELATIVE * want.abs()
}

/// The elements as `f64`, which is exact for all but large `i64`; those are compared by the relative tolerance.
fn values(tensor: &Tensor) -> Vec<f64> {
    let bytes = tensor.bytes();
    match tensor.element_type() {
        ElementType::Bool | ElementType::U8 => bytes.iter().map(|&v| f64::from(v)).collect(),
        ElementType::I8 => elements(bytes, |v| f64::from(i8::from_le_bytes(v))),
        ElementType::I32 => elements(bytes, |v| f64::from(i32::from_le_bytes(v))),
        ElementType::I64 => elements(bytes, |v| i64::from_le_bytes(v) as f64),
        ElementType::F16 => elements(bytes, |v| f16::from_le_bytes(v).to_f64()),
        ElementType::F32 => elements(bytes, |v| f64::from(f32::from_le_bytes(v))),
        ElementType::F64 => elements(bytes, f64::from_le_bytes),
    }
}

fn elements<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    let (whole, _) = bytes.as_chunks::<N>();
    whole.iter().map(|&element| decode(element)).collect()
}
