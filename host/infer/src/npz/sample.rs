//! The sample in an archive, from which its tensors were made.

use super::{NpzError, SAMPLE, SAMPLE_TYPE};
use crate::Tensor;

/// The members of the sample where a tensor has the name of one of them. A tensor can have the plain names then.
const MARKED: [&str; 2] = ["@sample", "@content-type"];

/// An archive, taken apart.
#[derive(Debug, Default)]
pub struct Parts {
    /// The tensors in the order of the archive.
    pub tensors: Vec<(String, Tensor)>,
    /// The payload of the sample, if the archive has it.
    pub payload: Option<Tensor>,
    /// The media type of the sample, if the archive has it.
    pub content_type: Option<Tensor>,
}

/// Separates the members of the sample from the tensors. [`SAMPLE`] and [`SAMPLE_TYPE`] belong to the sample, unless `is_tensor` is true for
/// them, or the archive has the sample as `@sample` or `@content-type`.
pub fn split(arrays: Vec<(String, Tensor)>, is_tensor: impl Fn(&str, &Tensor) -> bool) -> Parts {
    let marked = arrays.iter().any(|(name, _)| MARKED.contains(&&**name));
    let mut parts = Parts::default();
    for (name, tensor) in arrays {
        let plain = !marked && !is_tensor(&name, &tensor);
        match name.as_str() {
            "@sample" => parts.payload = Some(tensor),
            "@content-type" => parts.content_type = Some(tensor),
            SAMPLE if plain => parts.payload = Some(tensor),
            SAMPLE_TYPE if plain => parts.content_type = Some(tensor),
            _ => parts.tensors.push((name, tensor)),
        }
    }
    parts
}

/// The tensors of an archive without the sample, for comparisons. A member called [`SAMPLE`] or [`SAMPLE_TYPE`] that is not a row of bytes
/// is a tensor.
pub fn without_sample(arrays: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    split(arrays, |_, tensor| !is_byte_row(tensor)).tensors
}

/// Adds the sample to the tensors, under names that no tensor has.
///
/// # Errors
/// [`NpzError::Tensor`]
pub fn with_sample(
    mut tensors: Vec<(String, Tensor)>,
    payload: &[u8],
    content_type: &str,
) -> Result<Vec<(String, Tensor)>, NpzError> {
    let clash = tensors
        .iter()
        .any(|(name, _)| [SAMPLE, SAMPLE_TYPE].contains(&&**name));
    let [sample, kind] = if clash { MARKED } else { [SAMPLE, SAMPLE_TYPE] };
    for (name, bytes) in [(sample, payload), (kind, content_type.as_bytes())] {
        let row = Tensor::from_u8(&[bytes.len()], bytes.to_vec())?;
        tensors.push((name.to_owned(), row));
    }
    Ok(tensors)
}

fn is_byte_row(tensor: &Tensor) -> bool {
    tensor.shape().len() == 1 && tensor.as_u8().is_ok()
}
