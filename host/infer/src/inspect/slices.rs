//! Outputs compared slice by slice: numbers that mean different things, such as a box and its score, must not hide each other.

use super::similarity::{Similarity, SimilaritySums};

/// The largest axis that is compared slice by slice: detectors have one slice for each coordinate, score and class.
pub const MAX_SLICES: usize = 128;
/// The largest last axis of a picture that counts as channels. More is its width.
const MAX_PICTURE_CHANNELS: usize = 16;
/// The rank from which an output may be a picture.
const PICTURE_RANK: usize = 4;
/// An axis of more slices than [`MAX_PICTURE_CHANNELS`] counts only if each slice has at least this many pairs: fewer say little of a slice.
const LEAST_PAIRS: u64 = 4;

/// Compares an output of several samples along its channel axes: the last one, and the one after the batch. Memory does not grow with samples.
#[derive(Debug, Clone, Default)]
pub struct SliceSums {
    axes: Option<Vec<Axis>>,
}

#[derive(Debug, Clone)]
struct Axis {
    /// Elements between two neighbours along the axis.
    stride: usize,
    sums: Vec<SimilaritySums>,
}

impl SliceSums {
    /// Adds the pairs of one sample, in row-major order. An axis whose size changes from sample to sample is left out.
    pub fn add(&mut self, shape: &[usize], pairs: impl Iterator<Item = (f64, f64)>) {
        let found = channel_axes(shape);
        let axes = self.axes.get_or_insert_with(|| {
            let axis = |&(stride, size): &(usize, usize)| Axis {
                stride,
                sums: vec![SimilaritySums::default(); size],
            };
            found.iter().map(axis).collect()
        });
        axes.retain(|axis| found.contains(&(axis.stride, axis.sums.len())));
        for (at, (a, b)) in pairs.enumerate() {
            for axis in axes.iter_mut() {
                let slice = (at / axis.stride) % axis.sums.len();
                if let Some(sums) = axis.sums.get_mut(slice) {
                    sums.add(a, b);
                }
            }
        }
    }

    /// The similarity of each slice; empty if no axis counts.
    pub fn finish(&self) -> Vec<Similarity> {
        let axes = self.axes.iter().flatten();
        axes.filter(|axis| {
            axis.sums.len() <= MAX_PICTURE_CHANNELS
                || axis.sums.iter().all(|sums| sums.count() >= LEAST_PAIRS)
        })
        .flat_map(|axis| axis.sums.iter().map(SimilaritySums::finish))
        .collect()
    }
}

/// Stride and size of each axis that may be channels.
fn channel_axes(shape: &[usize]) -> Vec<(usize, usize)> {
    let rank = shape.len();
    let most_last = if rank < PICTURE_RANK {
        MAX_SLICES
    } else {
        MAX_PICTURE_CHANNELS
    };
    let mut axes = Vec::new();
    // A scalar is one slice over all samples.
    let last = shape.last().copied().unwrap_or(1);
    if (1..=most_last).contains(&last) {
        axes.push((1, last));
    }
    if let [_, channels, rest @ ..] = shape
        && !rest.is_empty()
        && (2..=MAX_SLICES).contains(channels)
    {
        axes.push((rest.iter().product::<usize>().max(1), *channels));
    }
    axes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(shape: &[usize], change: impl Fn(usize, f64) -> f64) -> f64 {
        let values = |at: usize| {
            if (at / 100) % 6 < 4 {
                600.0 + at as f64
            } else {
                0.9
            }
        };
        let count = shape.iter().product();
        let mut sums = SliceSums::default();
        let pairs = (0..count).map(|at| (values(at), change(at, values(at))));
        sums.add(shape, pairs);
        let all = sums.finish();
        all.iter().map(Similarity::agreement).fold(1.0, f64::min)
    }

    #[test]
    fn a_detector_that_gives_channels_first_is_compared_channel_by_channel() {
        let scores_gone = |at: usize, value: f64| if (at / 100) % 6 < 4 { value } else { 0.0 };
        assert_eq!(worst(&[1, 6, 100], scores_gone), 0.0);
        assert_eq!(worst(&[1, 6, 100], |_, value| value), 1.0);
    }

    #[test]
    fn seventeen_columns_are_compared_one_by_one() {
        let flipped = |at: usize, value: f64| if at % 17 == 16 { -value } else { value };
        assert_eq!(worst(&[100, 17], flipped), 0.0);
    }

    #[test]
    fn a_pictures_width_is_not_channels() {
        assert!(channel_axes(&[1, 1, 320, 320]).is_empty());
        assert_eq!(channel_axes(&[1, 3, 32, 64]), [(2048, 3)]);
    }
}
