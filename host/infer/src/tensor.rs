//! Dense tensors.

use std::fmt;

use tract_onnx::prelude::{Arc, Datum, DatumType, TValue, Tensor as Raw, f16};
use tract_onnx::prelude::{IntoArcTensor, IntoTValue, IntoTensor, TDim, TractResult};

use crate::TensorError;

/// Type of the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    I8,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// IEEE 754 binary16.
    F16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl ElementType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::F16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    pub(crate) fn raw(self) -> DatumType {
        match self {
            Self::Bool => bool::datum_type(),
            Self::U8 => u8::datum_type(),
            Self::I8 => i8::datum_type(),
            Self::I32 => i32::datum_type(),
            Self::I64 => i64::datum_type(),
            Self::F16 => f16::datum_type(),
            Self::F32 => f32::datum_type(),
            Self::F64 => f64::datum_type(),
        }
    }

    pub(crate) fn of(raw: DatumType) -> Option<Self> {
        match raw {
            DatumType::Bool => Some(Self::Bool),
            DatumType::U8 => Some(Self::U8),
            DatumType::I8 => Some(Self::I8),
            DatumType::I32 => Some(Self::I32),
            DatumType::I64 => Some(Self::I64),
            DatumType::F16 => Some(Self::F16),
            DatumType::F32 => Some(Self::F32),
            DatumType::F64 => Some(Self::F64),
            _ => None,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// A dense, row-major tensor that never changes. A clone shares the elements.
#[derive(Clone)]
pub struct Tensor {
    element_type: ElementType,
    raw: Arc<Raw>,
}

impl Tensor {
    /// Makes a tensor of `f32`. The product of `shape` must be the number of elements. They are copied once, to memory that is
    /// aligned for the backend.
    ///
    /// # Errors
    /// [`TensorError::Count`], [`TensorError::Overflow`].
    pub fn from_f32(shape: &[usize], elements: Vec<f32>) -> Result<Self, TensorError> {
        Self::from_elements(ElementType::F32, shape, &elements)
    }

    /// As [`Tensor::from_f32`].
    ///
    /// # Errors
    /// The same.
    pub fn from_u8(shape: &[usize], elements: Vec<u8>) -> Result<Self, TensorError> {
        Self::from_elements(ElementType::U8, shape, &elements)
    }

    /// As [`Tensor::from_f32`].
    ///
    /// # Errors
    /// The same.
    pub fn from_i64(shape: &[usize], elements: Vec<i64>) -> Result<Self, TensorError> {
        Self::from_elements(ElementType::I64, shape, &elements)
    }

    /// Makes a tensor of any element type from the little-endian bytes of its elements.
    ///
    /// # Errors
    /// [`TensorError::Bytes`], [`TensorError::Overflow`]; [`TensorError::NotBool`] for a `bool` that is neither 0 nor 1.
    pub fn from_bytes(
        element_type: ElementType,
        shape: &[usize],
        bytes: &[u8],
    ) -> Result<Self, TensorError> {
        let want = byte_count(element_type, shape)?;
        if bytes.len() != want {
            return Err(TensorError::Bytes {
                shape: shape.to_vec(),
                element_type,
                want,
                got: bytes.len(),
            });
        }
        if element_type == ElementType::Bool
            && let Some(position) = bytes.iter().position(|&byte| byte > 1)
        {
            return Err(TensorError::NotBool { position });
        }
        let raw = match element_type {
            ElementType::U8 => Raw::from_shape(shape, bytes),
            ElementType::I8 => copied::<i8>(element_type, shape, bytes),
            ElementType::I32 => copied::<i32>(element_type, shape, bytes),
            ElementType::I64 => copied::<i64>(element_type, shape, bytes),
            ElementType::F32 => copied::<f32>(element_type, shape, bytes),
            ElementType::F64 => copied::<f64>(element_type, shape, bytes),
            ElementType::Bool | ElementType::F16 => zeroed_and_copied(element_type, shape, bytes),
        };
        let raw = raw.map_err(|e| TensorError::Backend { source: e.into() })?;
        Ok(Self {
            element_type,
            raw: raw.into(),
        })
    }

    /// Makes a tensor of `f32` whose elements are 0 until `write` puts them where they stay.
    ///
    /// # Errors
    /// [`TensorError::Overflow`].
    pub fn write_f32(shape: &[usize], write: impl FnOnce(&mut [f32])) -> Result<Self, TensorError> {
        let backend =
            |e: tract_onnx::prelude::TractError| TensorError::Backend { source: e.into() };
        byte_count(ElementType::F32, shape)?;
        let mut raw = Raw::zero::<f32>(shape).map_err(backend)?;
        let mut view = raw.try_as_plain_ram_mut().map_err(backend)?;
        write(view.as_slice_mut::<f32>().map_err(backend)?);
        Ok(Self {
            element_type: ElementType::F32,
            raw: raw.into(),
        })
    }

    /// Zeros.
    #[cfg(feature = "ort")]
    pub(crate) fn zeros(element_type: ElementType, shape: &[usize]) -> Result<Self, TensorError> {
        let raw = Raw::zero_dt(element_type.raw(), shape)
            .map_err(|e| TensorError::Backend { source: e.into() })?;
        Ok(Self {
            element_type,
            raw: raw.into(),
        })
    }

    pub(crate) fn from_elements<T: Datum + Copy>(
        element_type: ElementType,
        shape: &[usize],
        elements: &[T],
    ) -> Result<Self, TensorError> {
        let want = count(shape)?;
        if elements.len() != want {
            return Err(TensorError::Count {
                shape: shape.to_vec(),
                want,
                got: elements.len(),
            });
        }
        let raw = Raw::from_shape(shape, elements)
            .map_err(|e| TensorError::Backend { source: e.into() })?;
        Ok(Self {
            element_type,
            raw: raw.into(),
        })
    }

    /// Takes over what the backend returned. The error is the name of an element type that is not handled.
    pub(crate) fn from_raw(value: TValue) -> Result<Self, String> {
        let raw = if value.datum_type() == TDim::datum_type() {
            // A dimension that was computed; in ONNX it is an i64.
            let plain = value
                .cast_to::<i64>()
                .map_err(|e| e.to_string())?
                .into_owned();
            Arc::new(plain)
        } else {
            value.into_arc_tensor()
        };
        let element_type =
            ElementType::of(raw.datum_type()).ok_or_else(|| format!("{:?}", raw.datum_type()))?;
        let raw = if raw.is_plain_ram() {
            raw
        } else {
            let plain = Arc::unwrap_or_clone(raw)
                .into_tensor()
                .into_plain_ram()
                .map_err(|e| e.to_string())?;
            Arc::new(plain)
        };
        Ok(Self { element_type, raw })
    }

    pub(crate) fn to_raw(&self) -> TValue {
        self.raw.clone().into_tvalue()
    }

    /// Type of the elements.
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// Outermost dimension first. A scalar has none.
    pub fn shape(&self) -> &[usize] {
        self.raw.shape()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether a dimension is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the elements.
    pub fn byte_len(&self) -> usize {
        self.len() * self.element_type.size()
    }

    /// The elements as little-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        if self.is_empty() {
            &[]
        } else {
            self.raw.as_bytes()
        }
    }

    /// The elements as numbers, whatever their type. Integers above 2^53 are rounded.
    #[expect(clippy::cast_precision_loss, reason = "said above")]
    pub fn numbers(&self) -> impl Iterator<Item = f64> {
        let kind = self.element_type;
        self.bytes()
            .chunks_exact(kind.size())
            .map(move |it| match (kind, it) {
                (ElementType::Bool | ElementType::U8, &[a]) => f64::from(a),
                (ElementType::I8, &[a]) => f64::from(a.cast_signed()),
                (ElementType::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f64(),
                (ElementType::I32, &[a, b, c, d]) => f64::from(i32::from_le_bytes([a, b, c, d])),
                (ElementType::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
                (_, it) => {
                    let eight: [u8; 8] = it.try_into().unwrap_or_default();
                    if kind == ElementType::I64 {
                        i64::from_le_bytes(eight) as f64
                    } else {
                        f64::from_le_bytes(eight)
                    }
                }
            })
    }

    /// The elements, not copied.
    ///
    /// # Errors
    /// [`TensorError::WrongType`].
    pub fn as_f32(&self) -> Result<&[f32], TensorError> {
        self.elements(ElementType::F32)
    }

    /// The elements, not copied.
    ///
    /// # Errors
    /// [`TensorError::WrongType`].
    pub fn as_u8(&self) -> Result<&[u8], TensorError> {
        self.elements(ElementType::U8)
    }

    /// The elements, not copied.
    ///
    /// # Errors
    /// [`TensorError::WrongType`].
    pub fn as_i64(&self) -> Result<&[i64], TensorError> {
        self.elements(ElementType::I64)
    }

    pub(crate) fn elements<T: Datum>(&self, want: ElementType) -> Result<&[T], TensorError> {
        let got = self.element_type;
        if got != want {
            return Err(TensorError::WrongType { want, got });
        }
        let plain = self
            .raw
            .try_as_plain_ram()
            .map_err(|e| TensorError::Backend { source: e.into() })?;
        plain
            .as_slice()
            .map_err(|e| TensorError::Backend { source: e.into() })
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?})", self.element_type, self.shape())
    }
}

/// A copy of elements that lie where the processor likes them, as a rule; else as below.
fn copied<T: Datum + bytemuck::Pod>(
    element_type: ElementType,
    shape: &[usize],
    bytes: &[u8],
) -> TractResult<Raw> {
    match bytemuck::try_cast_slice::<u8, T>(bytes) {
        Ok(elements) => Raw::from_shape(shape, elements),
        Err(_) => zeroed_and_copied(element_type, shape, bytes),
    }
}

/// A copy of elements that lie anywhere.
fn zeroed_and_copied(element_type: ElementType, shape: &[usize], bytes: &[u8]) -> TractResult<Raw> {
    let mut raw = Raw::zero_dt(element_type.raw(), shape)?;
    if !bytes.is_empty() {
        raw.as_bytes_mut().copy_from_slice(bytes);
    }
    Ok(raw)
}

/// Bytes of the elements of a tensor of this shape.
fn byte_count(element_type: ElementType, shape: &[usize]) -> Result<usize, TensorError> {
    let bytes = count(shape)?.checked_mul(element_type.size());
    bytes.ok_or_else(|| TensorError::Overflow {
        shape: shape.to_vec(),
    })
}

/// The product of a shape. Where one dimension is 0, the others must fit all the same: the backend multiplies them for its strides.
fn count(shape: &[usize]) -> Result<usize, TensorError> {
    let lengths = shape.iter().filter(|&&dimension| dimension != 0);
    let product = lengths.copied().try_fold(1_usize, usize::checked_mul);
    let fits = product.filter(|&product| isize::try_from(product).is_ok());
    let product = fits.ok_or_else(|| TensorError::Overflow {
        shape: shape.to_vec(),
    })?;
    Ok(if shape.contains(&0) { 0 } else { product })
}
