//! Synthetic inputs for a model, from their names, types and shapes.

use hotshoe_infer::{ElementType, Tensor, TensorInfo};

use super::Inputs;

/// Size of open dimensions other than the first: most networks halve their picture at most six times.
const OPEN: usize = 64;
/// Largest synthetic input: 64 MiB.
const MAX_BYTES: usize = 64 << 20;

/// Inputs to try, the most likely to fit first: one sample with large open dimensions, then with small ones.
pub(crate) fn inputs(infos: &[TensorInfo]) -> Vec<Inputs> {
    let with = |open| {
        let tensors = infos
            .iter()
            .map(|info| Some((info.name.clone(), tensor(info, open)?)));
        tensors.collect::<Option<Inputs>>()
    };
    [OPEN, 1].into_iter().filter_map(with).collect()
}

/// Deterministic values from 0 to 1; alternating 0 and 1 for integers.
fn tensor(info: &TensorInfo, open: usize) -> Option<Tensor> {
    let sizes = info.shape.iter().enumerate();
    let shape: Vec<usize> = sizes
        .map(|(at, size)| size.unwrap_or(if at == 0 { 1 } else { open }))
        .collect();
    let size = info.element_type.size();
    let count = shape
        .iter()
        .try_fold(1_usize, |all, size| all.checked_mul(*size))?;
    if count.checked_mul(size)? > MAX_BYTES {
        return None;
    }
    let mut bytes = Vec::with_capacity(count * size);
    // Knuth's linear congruential generator (MMIX); its upper bits are random enough here.
    let mut noise = 1_u64;
    for at in 0..count {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let byte = noise.to_be_bytes()[0];
        let value = f32::from(byte) / 255.0;
        let whole = u8::from(at % 2 == 1);
        match info.element_type {
            ElementType::F32 => bytes.extend(value.to_le_bytes()),
            ElementType::F64 => bytes.extend(f64::from(value).to_le_bytes()),
            ElementType::F16 => bytes.extend(half::f16::from_f32(value).to_le_bytes()),
            ElementType::I32 => bytes.extend(i32::from(whole).to_le_bytes()),
            ElementType::I64 => bytes.extend(i64::from(whole).to_le_bytes()),
            ElementType::U8 => bytes.push(byte),
            ElementType::I8 | ElementType::Bool => bytes.push(whole),
        }
    }
    Tensor::from_bytes(info.element_type, &shape, &bytes).ok()
}
