//! Text from the recogniser's output: greedy decoding of Connectionist Temporal Classification (Graves et al., 2006).

use crate::ModelOutputError;

/// Metadata entry of the recogniser that holds its character list.
pub const CHARACTERS_KEY: &str = "character";

/// What each position of the recogniser's output stands for. Position 0 is CTC's blank, then come the characters of the list, then a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alphabet {
    text: String,
    /// Byte offset in `text` of each entry's end, the blank's first.
    ends: Vec<usize>,
}

impl Alphabet {
    /// Reads a character list with one entry a line.
    pub fn parse(list: &str) -> Self {
        let mut alphabet = Alphabet {
            text: String::with_capacity(list.len()),
            ends: vec![0],
        };
        for entry in list
            .strip_suffix('\n')
            .unwrap_or(list)
            .split('\n')
            .chain([" "])
        {
            alphabet
                .text
                .push_str(entry.strip_suffix('\r').unwrap_or(entry));
            alphabet.ends.push(alphabet.text.len());
        }
        alphabet
    }

    /// Number of positions in the output, the blank included.
    pub fn classes(&self) -> usize {
        self.ends.len()
    }

    fn entry(&self, class: usize) -> Option<&str> {
        let start = *self.ends.get(class.checked_sub(1)?)?;
        self.text.get(start..*self.ends.get(class)?)
    }
}

/// Text that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The characters.
    pub text: String,
    /// Mean probability of the characters, 0 to 1; 0 for no characters.
    pub score: f32,
}

/// Reads every line of a batch: `probabilities` of `shape` lines x steps x classes.
pub fn decode(
    probabilities: &[f32],
    shape: &[usize],
    alphabet: &Alphabet,
) -> Result<Vec<Reading>, ModelOutputError> {
    let (lines, steps, classes) = match *shape {
        [lines, steps, classes]
            if lines * steps * classes == probabilities.len() && lines * steps > 0 =>
        {
            (lines, steps, classes)
        }
        _ => {
            return Err(ModelOutputError::shape(
                "recogniser",
                "lines x steps x classes",
                shape,
            ));
        }
    };
    if classes != alphabet.classes() {
        return Err(ModelOutputError::Alphabet {
            classes,
            entries: alphabet.classes(),
        });
    }
    let readings = probabilities
        .chunks_exact(steps * classes)
        .map(|line| decode_line(line, classes, alphabet));
    debug_assert!(readings.len() == lines);
    Ok(readings.collect())
}

fn decode_line(line: &[f32], classes: usize, alphabet: &Alphabet) -> Reading {
    let mut text = String::new();
    let mut sum = 0.0f64;
    let mut count = 0u32;
    let mut last = 0;
    for step in line.chunks_exact(classes) {
        let (class, probability) = best(step);
        if class != last
            && let Some(entry) = alphabet.entry(class)
        {
            text.push_str(entry);
            sum += f64::from(probability);
            count += 1;
        }
        last = class;
    }
    let score = if count == 0 {
        0.0
    } else {
        (sum / f64::from(count)) as f32
    };
    Reading { text, score }
}

/// Position and value of the greatest element, the first of equals.
pub(crate) fn best(scores: &[f32]) -> (usize, f32) {
    // Two plain passes are several times faster than one that carries the position along.
    let greatest = scores
        .iter()
        .copied()
        .fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    (
        scores
            .iter()
            .position(|score| *score == greatest)
            .unwrap_or(0),
        greatest,
    )
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
    use proptest::prelude::*;

    /// One-hot steps, `p` at each class.
    fn steps(path: &[usize], classes: usize, p: f32) -> Vec<f32> {
        path.iter()
            .flat_map(|hot| (0..classes).map(move |class| if class == *hot { p } else { 0.0 }))
            .collect()
    }

    #[test]
    fn repeats_collapse_and_blanks_separate() {
        let alphabet = Alphabet::parse("a\nb");
        assert_eq!(alphabet.classes(), 4);
        let readings = decode(
            &steps(&[1, 1, 0, 1, 2, 3, 3, 2, 0], 4, 0.5),
            &[1, 9, 4],
            &alphabet,
        )
        .unwrap();
        assert_eq!(
            readings,
            [Reading {
                text: "aab b".into(),
                score: 0.5
            }]
        );
    }

    #[test]
    fn nothing_but_blanks_is_an_empty_reading() {
        let readings = decode(
            &steps(&[0, 0, 0, 0], 3, 1.0),
            &[2, 2, 3],
            &Alphabet::parse("a"),
        )
        .unwrap();
        assert_eq!(
            readings,
            vec![
                Reading {
                    text: String::new(),
                    score: 0.0
                };
                2
            ]
        );
    }

    #[test]
    fn an_alphabet_of_another_size_and_a_wrong_shape_are_errors() {
        let alphabet = Alphabet::parse("a\nb\nc\n");
        assert_eq!(alphabet.classes(), 5);
        assert!(
            decode(&[0.0; 6], &[1, 2, 3], &alphabet)
                .unwrap_err()
                .to_string()
                .contains('5')
        );
        assert!(decode(&[0.0; 6], &[2, 3], &alphabet).is_err());
        assert!(decode(&[], &[0, 2, 5], &alphabet).is_err());
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_its_own_path(indices in prop::collection::vec(1usize..6, 0..20)) {
            let alphabet = Alphabet::parse("x\ny\n字\nzz");
            let entries = ["x", "y", "字", "zz", " "];
            let path: Vec<usize> = std::iter::once(0).chain(indices.iter().flat_map(|i| [*i, *i, 0])).collect();
            let reading = decode(&steps(&path, 6, 0.9), &[1, path.len(), 6], &alphabet).unwrap().remove(0);
            let expected: String = indices.iter().map(|i| entries[i - 1]).collect();
            prop_assert_eq!(reading.text, expected);
        }
    }
}
