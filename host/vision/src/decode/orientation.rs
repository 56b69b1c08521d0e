//! Turns and flips by the EXIF orientation (EXIF 2.32, tag 0x0112).

use image::metadata::Orientation;

use crate::{Budget, BudgetError};

/// Rows of pixels without padding.
pub(super) struct Rows {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bytes: Vec<u8>,
}

/// The rows as `orientation` says that they are shown. The stored rows are counted too while both exist.
pub(super) fn apply(
    orientation: Orientation,
    stored: Rows,
    pixel_bytes: usize,
    budget: &Budget<'_>,
) -> Result<Rows, BudgetError> {
    use Orientation::{
        FlipHorizontal, FlipVertical, NoTransforms, Rotate90, Rotate90FlipH, Rotate180, Rotate270,
        Rotate270FlipH,
    };
    // Whether rows become columns, and then whether stored columns and rows are read from their ends.
    let (transposed, from_right, from_bottom) = match orientation {
        NoTransforms => return Ok(stored),
        FlipHorizontal => (false, true, false),
        Rotate180 => (false, true, true),
        FlipVertical => (false, false, true),
        Rotate90FlipH => (true, false, false),
        Rotate90 => (true, false, true),
        Rotate270FlipH => (true, true, true),
        Rotate270 => (true, true, false),
    };
    let _stored = budget.claim(stored.bytes.len() as u64)?;
    let (mut bytes, _claim) = budget.list(stored.bytes.len())?;
    let (width, height) = (stored.width as usize, stored.height as usize);
    let (shown_width, shown_height) = if transposed {
        (height, width)
    } else {
        (width, height)
    };
    for y in 0..shown_height {
        for x in 0..shown_width {
            let (column, row) = if transposed { (y, x) } else { (x, y) };
            let column = if from_right {
                width - 1 - column
            } else {
                column
            };
            let row = if from_bottom { height - 1 - row } else { row };
            let at = (row * width + column) * pixel_bytes;
            let pixel = stored.bytes.get(at..at + pixel_bytes);
            bytes.extend_from_slice(pixel.unwrap_or_default());
            budget.spend(1)?;
        }
    }
    Ok(Rows {
        width: shown_width as u32,
        height: shown_height as u32,
        bytes,
    })
}
