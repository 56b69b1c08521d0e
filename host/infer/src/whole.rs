//! A model as one file: with the weights that its exporter wrote to files beside it (ONNX external data), as a release carries it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path};

use hotshoe_base::files::{Folder, FolderError};
use thiserror::Error;
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{AttributeProto, GraphProto, SparseTensorProto, TensorProto};

use crate::describe::{self, is_pointer};
use crate::inspect::{self, InspectError};
use crate::onnx::element_bits;
use crate::served::with_graph;

/// Enough of a file to see whether it is a pointer of git LFS.
const BEGINNING: usize = 64;

/// Why a model cannot be one file.
#[derive(Debug, Error)]
pub enum WholeError {
    /// It is not a complete ONNX file.
    #[error(transparent)]
    Model(#[from] InspectError),
    /// The path of a side file leads out of the model's folder.
    #[error(
        "the model's tensor \"{tensor}\" is in \"{location}\", which is not below the folder of the model; put both files into one folder and export the model again"
    )]
    LeadsOut {
        /// The name of the tensor.
        tensor: String,
        /// The path in the model.
        location: String,
    },
    /// A side file cannot be read.
    #[error(
        "the file \"{location}\" with the model's tensor \"{tensor}\" cannot be read; put it beside the model"
    )]
    Side {
        /// The name of the tensor.
        tensor: String,
        /// The path in the model.
        location: String,
        /// Why.
        #[source]
        source: FolderError,
    },
    /// A side file is a pointer of git LFS.
    #[error(
        "the file \"{location}\" with weights of the model is a git LFS pointer; fetch the file with `git lfs pull`"
    )]
    SidePointer {
        /// The path in the model.
        location: String,
    },
    /// A side file ends too early, or the model states no valid place.
    #[error(
        "the model's tensor \"{tensor}\" is not complete in \"{location}\", which has {bytes} bytes; export or fetch both files again"
    )]
    Short {
        /// The name of the tensor.
        tensor: String,
        /// The path in the model.
        location: String,
        /// Bytes of the side file.
        bytes: u64,
    },
    /// A weight does not have the bytes that its shape asks for.
    #[error(
        "the model's tensor \"{tensor}\" does not have the bytes of its shape; export or fetch the model again"
    )]
    Incomplete {
        /// The name of the tensor.
        tensor: String,
    },
    /// The model and its weights have too many bytes together.
    #[error(
        "the model and its side files have more than the {limit} bytes allowed together; use a smaller model"
    )]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// A part in another file that cannot be moved: a tensor of a function, or a node that is compiled for one device.
    #[error(
        "the part \"{part}\" of the model is in another file and cannot be joined with it; export the model into one file"
    )]
    Elsewhere {
        /// The name of the tensor or node.
        part: String,
    },
}

/// The model with the weights of its side files, which lie below `folder`; `None` if it has no side files. The result has at most about
/// `limit` bytes.
///
/// # Errors
/// [`WholeError`]
pub fn whole(folder: &Path, bytes: &[u8], limit: u64) -> Result<Option<Vec<u8>>, WholeError> {
    let mut model = inspect::open(bytes)?;
    if describe::external_weight(&model).is_none() {
        check_sizes(inspect::graph(&model)?)?;
        return Ok(None);
    }
    let mut sides = SideFiles {
        folder,
        last: None,
        left: limit.saturating_sub(bytes.len() as u64),
        limit,
    };
    if let Some(graph) = model.graph.as_mut() {
        sides.join(graph)?;
    }
    if let Some(part) = describe::external_weight(&model) {
        let part = part.to_owned();
        return Err(WholeError::Elsewhere { part });
    }
    let graph = inspect::graph(&model)?;
    check_sizes(graph)?;
    Ok(Some(with_graph(bytes, graph)))
}

/// Checks that each weight has the bytes that its shape asks for.
fn check_sizes(graph: &GraphProto) -> Result<(), WholeError> {
    let is_short = |tensor: &&TensorProto| {
        let bytes = tensor.raw_data.len() as u64;
        bytes > 0 && size(tensor).is_some_and(|size| size != bytes)
    };
    match graph.initializer.iter().find(is_short) {
        Some(tensor) => Err(WholeError::Incomplete {
            tensor: tensor.name.clone(),
        }),
        None => Ok(()),
    }
}

/// The side files of one model.
struct SideFiles<'a> {
    folder: &'a Path,
    /// The last one that was read. An export with one file per tensor has more files than a process may open.
    last: Option<SideFile>,
    /// Bytes that the weights may still have.
    left: u64,
    limit: u64,
}

/// An open side file.
struct SideFile {
    /// The path in the model.
    location: String,
    file: File,
    /// Its size in bytes.
    bytes: u64,
}

impl SideFiles<'_> {
    fn join(&mut self, graph: &mut GraphProto) -> Result<(), WholeError> {
        let weights = graph.initializer.iter_mut();
        let sparse = graph.sparse_initializer.iter_mut().flat_map(parts);
        for tensor in weights.chain(sparse) {
            self.tensor(tensor)?;
        }
        let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
        for attribute in attributes {
            self.attribute(attribute)?;
        }
        Ok(())
    }

    fn attribute(&mut self, attribute: &mut AttributeProto) -> Result<(), WholeError> {
        let dense = attribute.t.iter_mut().chain(&mut attribute.tensors);
        let sparse = attribute.sparse_tensor.iter_mut();
        let sparse = sparse.chain(&mut attribute.sparse_tensors).flat_map(parts);
        for tensor in dense.chain(sparse) {
            self.tensor(tensor)?;
        }
        for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            self.join(graph)?;
        }
        Ok(())
    }

    fn tensor(&mut self, tensor: &mut TensorProto) -> Result<(), WholeError> {
        if tensor.data_location != Some(DataLocation::External as i32) {
            return Ok(());
        }
        let said = |key: &str| {
            let mut entries = tensor.external_data.iter();
            let entry = entries.find(|entry| entry.key == key);
            entry.map(|entry| entry.value.clone())
        };
        let number = |text: String| text.trim().parse::<u64>().ok();
        let location = said("location").unwrap_or_default();
        let (limit, left) = (self.limit, self.left);
        let (file, bytes) = self.open(&tensor.name, &location)?;
        let short = || WholeError::Short {
            tensor: tensor.name.clone(),
            location: location.clone(),
            bytes,
        };
        let offset = said("offset").map_or(Some(0), number).ok_or_else(short)?;
        let length = said("length").map_or_else(|| size(tensor), number);
        let length = length.ok_or_else(short)?;
        if offset.checked_add(length).is_none_or(|end| end > bytes) {
            return Err(short());
        }
        let too_large = || WholeError::TooLarge { limit };
        let left = left.checked_sub(length).ok_or_else(too_large)?;
        let mut elements = vec![0; usize::try_from(length).map_err(|_| too_large())?];
        file.read_exact_at(&mut elements, offset)
            .map_err(|source| WholeError::Side {
                tensor: tensor.name.clone(),
                location: location.clone(),
                source: source.into(),
            })?;
        self.left = left;
        tensor.raw_data = elements;
        tensor.data_location = None;
        tensor.external_data.clear();
        Ok(())
    }

    /// A side file and its size.
    fn open(&mut self, tensor: &str, location: &str) -> Result<(&File, u64), WholeError> {
        let side = match self.last.take() {
            Some(side) if side.location == location => side,
            _ => {
                if !stays_below(Path::new(location)) {
                    return Err(WholeError::LeadsOut {
                        tensor: tensor.to_owned(),
                        location: location.to_owned(),
                    });
                }
                let opened = open(self.folder, location).map_err(|source| WholeError::Side {
                    tensor: tensor.to_owned(),
                    location: location.to_owned(),
                    source,
                })?;
                let location = location.to_owned();
                let Some((file, bytes)) = opened else {
                    return Err(WholeError::SidePointer { location });
                };
                SideFile {
                    location,
                    file,
                    bytes,
                }
            }
        };
        let side = self.last.insert(side);
        Ok((&side.file, side.bytes))
    }
}

/// Opens a side file; `None` if it is a pointer of git LFS.
fn open(folder: &Path, location: &str) -> Result<Option<(File, u64)>, FolderError> {
    let file = Folder::open(folder)?.open_file(Path::new(location))?;
    let bytes = file.metadata()?.len();
    let mut beginning = [0; BEGINNING];
    let read = match file.read_at(&mut beginning, 0) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
        read => read.unwrap_or_default(),
    };
    let beginning = beginning.get(..read).unwrap_or_default();
    Ok((!is_pointer(beginning)).then_some((file, bytes)))
}

fn parts(tensor: &mut SparseTensorProto) -> impl Iterator<Item = &mut TensorProto> {
    tensor.values.iter_mut().chain(&mut tensor.indices)
}

/// The bytes of a tensor by its shape and type, if they are known.
fn size(tensor: &TensorProto) -> Option<u64> {
    let sizes = tensor.dims.iter().map(|&size| u64::try_from(size).ok());
    let count = sizes
        .into_iter()
        .try_fold(1_u64, |product, size| product.checked_mul(size?))?;
    let bits = Some(element_bits(tensor.data_type)).filter(|&bits| bits > 0)?;
    Some(count.checked_mul(bits)?.div_ceil(8))
}

/// Whether a path has names alone.
fn stays_below(path: &Path) -> bool {
    let is_name = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    path.components().next().is_some() && path.components().all(is_name)
}
