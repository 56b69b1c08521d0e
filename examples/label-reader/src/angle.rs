//! Which way up a line is, from the angle classifier's output.

use crate::{ModelOutputError, ctc};

/// The classifier's classes: degrees by which the line is turned.
pub const LABELS: [&str; 2] = ["0", "180"];

/// Score above which a line counts as upside down.
pub const THRESHOLD: f32 = 0.9;

/// One line's answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Angle {
    /// Position in [`LABELS`].
    pub class: usize,
    /// 0 to 1.
    pub score: f32,
}

impl Angle {
    /// Whether the line must be turned by half.
    pub fn is_upside_down(self) -> bool {
        self.class == 1 && self.score > THRESHOLD
    }
}

/// Reads the classifier's output: `scores` of `shape` lines x 2.
pub fn classify(scores: &[f32], shape: &[usize]) -> Result<Vec<Angle>, ModelOutputError> {
    match *shape {
        [lines, 2] if lines * 2 == scores.len() => {}
        _ => {
            return Err(ModelOutputError::shape(
                "angle classifier",
                "lines x 2",
                shape,
            ));
        }
    }
    let angles = scores.chunks_exact(LABELS.len()).map(|line| {
        let (class, score) = ctc::best(line);
        Angle { class, score }
    });
    Ok(angles.collect())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests"
    )]
    use super::*;

    #[test]
    fn only_a_sure_answer_turns_the_line() {
        let angles = classify(&[0.95, 0.05, 0.05, 0.95, 0.2, 0.8], &[3, 2]).unwrap();
        assert_eq!(
            angles
                .iter()
                .map(|a| a.is_upside_down())
                .collect::<Vec<_>>(),
            [false, true, false]
        );
        assert!(classify(&[0.5; 3], &[1, 3]).is_err());
    }
}
