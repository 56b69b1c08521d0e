//! Bodies that are the one input themselves: Triton's raw binary request, and a file that a client posts as it is.

use bytes::Bytes;

use crate::catalogue::{self, CallTarget, Callable, SAMPLE};
use crate::datatype;
use crate::error::{RequestError, TensorFault};
use crate::request::{Data, InferRequest, Input, Parameters};

/// Whether a body is the input itself. `header_length` is `Inference-Header-Content-Length`: 0 says so. Without it, so do a media type of
/// pictures, sound or video, and bytes that are not the JSON of a request. What begins as JSON is JSON, whatever its media type is, since
/// many clients send none or a wrong one.
pub(crate) fn is_raw(header_length: Option<usize>, media_type: Option<&str>, body: &[u8]) -> bool {
    if let Some(length) = header_length {
        return length == 0;
    }
    let media_type = media_type.unwrap_or_default().to_ascii_lowercase();
    let is_media = ["image/", "audio/", "video/"];
    if is_media.iter().any(|media| media_type.starts_with(media)) {
        return true;
    }
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_object = first == Some(&b'{');
    let is_binary = media_type.starts_with("application/octet-stream");
    !is_object && !body.is_empty() && (is_binary || std::str::from_utf8(body).is_err())
}

/// Makes the request of a body that is the one input.
///
/// # Errors
///
/// [`RequestError::RawInputs`]: the model has more than one input. [`RequestError::Input`]: the shape does not follow from the length.
pub(crate) fn read(
    target: &CallTarget,
    media_type: Option<&str>,
    body: Bytes,
) -> Result<InferRequest, RequestError> {
    let mut parameters = Parameters::default();
    let input = match &target.callable {
        Callable::Pipeline => {
            parameters.content_type = media_type.filter(says_something).map(str::to_owned);
            let (shape, elements) = (vec![1], vec![body]);
            Input {
                name: SAMPLE.to_owned(),
                data: Data::Samples { shape, elements },
            }
        }
        Callable::Model(model) => {
            let [info] = model.inputs() else {
                let inputs = model.inputs().len();
                return Err(RequestError::RawInputs { inputs });
            };
            let element_type = info.element_type;
            let shape =
                body_shape(&info.shape, body.len(), element_type.size()).ok_or_else(|| {
                    RequestError::Input {
                        name: info.name.clone(),
                        source: TensorFault::RawLength {
                            datatype: datatype::name(element_type),
                            shape: info.shape.iter().map(catalogue::size).collect(),
                            bytes: body.len(),
                        },
                    }
                })?;
            Input {
                name: info.name.clone(),
                data: Data::Elements {
                    element_type,
                    shape,
                    bytes: body,
                },
            }
        }
    };
    Ok(InferRequest {
        id: String::new(),
        parameters,
        inputs: vec![input],
        outputs: Vec::new(),
    })
}

/// Whether a media type says more than what clients send when they know nothing.
fn says_something(media_type: &&str) -> bool {
    let unknown = [
        "application/octet-stream",
        "application/x-www-form-urlencoded",
    ];
    unknown
        .iter()
        .all(|unknown| !media_type.starts_with(unknown))
}

/// The shape of a body: at most one size is unknown, besides that of the batch, which is then 1.
pub(crate) fn body_shape(
    sizes: &[Option<usize>],
    bytes: usize,
    element_bytes: usize,
) -> Option<Vec<usize>> {
    let mut sizes = sizes.to_vec();
    let unknown = |sizes: &[Option<usize>]| sizes.iter().filter(|size| size.is_none()).count();
    if unknown(&sizes) > 1
        && let Some(first) = sizes.first_mut()
    {
        first.get_or_insert(1);
    }
    let known = sizes.iter().flatten();
    let known = known.copied().try_fold(element_bytes, usize::checked_mul)?;
    match unknown(&sizes) {
        0 if known == bytes => {}
        1 if known > 0 && bytes.is_multiple_of(known) => {
            for size in sizes.iter_mut().filter(|size| size.is_none()) {
                *size = Some(bytes / known);
            }
        }
        _ => return None,
    }
    sizes.into_iter().collect()
}
