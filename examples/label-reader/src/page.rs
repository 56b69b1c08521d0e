//! Reads a whole page: detect, cut out, turn, recognise.

use crate::geometry::{Point, Quad};
use crate::{ModelOutputError, angle, ctc, db, order, sizes};

/// Lines of similar width that the recogniser gets at one common width. The reference runs them as one batch, and the padding
/// shows in what is read.
pub const RECOGNISER_GROUP: usize = 6;
/// Most lines of a group that the recogniser gets in one run. The host runs large rows one by one, side by side on its threads. The output of a
/// line has up to 6.6 MB.
pub const RECOGNISER_LINES: usize = 4;
/// Least mean score of a line that counts as read.
pub const LINE_SCORE: f32 = 0.5;

/// The three models, all with one image tensor in and one tensor out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// 1 x 3 x height x width to 1 x 1 x height x width: the probability of text.
    Detector,
    /// lines x 3 x 48 x 192 to lines x 2: upright or upside down.
    AngleClassifier,
    /// lines x 3 x 48 x width to lines x steps x classes.
    Recogniser,
}

/// The pixel operations and models that reading needs. A component gets them from its host; a native program links them.
pub trait Runtime {
    /// An RGB picture.
    type Image;
    /// A model's input.
    type Tensor;
    /// The error of an operation.
    type Error: From<ModelOutputError>;

    /// Width and height of the image.
    fn size(&self, image: &Self::Image) -> sizes::Size;
    /// Scales to `size`, bilinear.
    fn resize(&self, image: &Self::Image, size: sizes::Size) -> Result<Self::Image, Self::Error>;
    /// Adds `rows` black rows above and as many below.
    fn add_bars(&self, image: &Self::Image, rows: u32) -> Result<Self::Image, Self::Error>;
    /// Maps `outline` to an upright image of `size`, bicubic, edge pixels repeated outside.
    fn warp(
        &self,
        image: &Self::Image,
        outline: &Quad,
        size: sizes::Size,
    ) -> Result<Self::Image, Self::Error>;
    /// Turns by 90 degrees anticlockwise.
    fn lay_down(&self, image: &Self::Image) -> Result<Self::Image, Self::Error>;
    /// Turns by 180 degrees.
    fn turn_over(&self, image: &Self::Image) -> Result<Self::Image, Self::Error>;
    /// Makes an images x 3 x height x width tensor of the BGR values from -1 to 1, the images at its top left and 0 elsewhere.
    fn normalise(
        &self,
        images: &[Self::Image],
        size: sizes::Size,
    ) -> Result<Self::Tensor, Self::Error>;
    /// Runs a model and hands the shape and the elements of its output to `read`.
    fn run<T>(
        &self,
        model: Model,
        input: Self::Tensor,
        read: impl FnOnce(&[usize], &[f32]) -> Result<T, ModelOutputError>,
    ) -> Result<T, Self::Error>;
}

/// One line of text.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it says.
    pub text: String,
    /// Mean score of its characters, 0 to 1.
    pub score: f32,
    /// Where it stands, in pixels of the picture.
    pub outline: Quad,
}

/// Reads the picture's lines of text, in reading order.
pub fn read<R: Runtime>(
    runtime: &R,
    picture: R::Image,
    alphabet: &ctc::Alphabet,
) -> Result<Vec<Line>, R::Error> {
    let size = runtime.size(&picture);
    let working = sizes::working_size(size);
    let scaled = if working == size {
        picture
    } else {
        runtime.resize(&picture, working)?
    };
    let bar = sizes::bar_height(working);
    let page = if bar == 0 {
        scaled
    } else {
        runtime.add_bars(&scaled, bar)?
    };

    let mut boxes = detect(runtime, &page)?;
    order::sort(&mut boxes, |found| &found.outline);
    let mut cuts = Vec::with_capacity(boxes.len());
    for found in &boxes {
        cuts.push(cut_out(runtime, &page, &found.outline)?);
    }
    turn_over(runtime, &mut cuts)?;
    let readings = recognise(runtime, &cuts, alphabet)?;

    let to_picture = |[x, y]: Point| -> Point {
        let place = |at: f32, size: u32, working: u32| {
            (at * size as f32 / working.max(1) as f32).clamp(0.0, size as f32)
        };
        [
            place(x, size.0, working.0),
            place(y - bar as f32, size.1, working.1),
        ]
    };
    let lines = boxes
        .iter()
        .zip(readings)
        .filter(|(_, reading)| reading.score >= LINE_SCORE)
        .map(|(found, reading)| Line {
            text: reading.text,
            score: reading.score,
            outline: found.outline.map(to_picture),
        });
    Ok(lines.collect())
}

fn detect<R: Runtime>(runtime: &R, page: &R::Image) -> Result<Vec<db::TextBox>, R::Error> {
    let (width, height) = runtime.size(page);
    let size = sizes::detector_size((width, height));
    let input = runtime.normalise(&[runtime.resize(page, size)?], size)?;
    runtime.run(Model::Detector, input, |shape, map| {
        db::boxes(map, shape, width, height)
    })
}

/// Cuts one box out of the page, and turns it by 90 degrees if it is upright.
fn cut_out<R: Runtime>(runtime: &R, page: &R::Image, outline: &Quad) -> Result<R::Image, R::Error> {
    let size = sizes::crop_size(outline);
    let cut = runtime.warp(page, outline, size)?;
    if sizes::is_upright(size) {
        runtime.lay_down(&cut)
    } else {
        Ok(cut)
    }
}

/// Turns lines that are upside down by 180 degrees.
fn turn_over<R: Runtime>(runtime: &R, cuts: &mut [R::Image]) -> Result<(), R::Error> {
    let size = (sizes::ANGLE_WIDTH, sizes::LINE_HEIGHT);
    for cut in cuts {
        let line = to_line_height(runtime, cut, sizes::ANGLE_WIDTH)?;
        let input = runtime.normalise(&[line], size)?;
        let angles = runtime.run(Model::AngleClassifier, input, |shape, scores| {
            angle::classify(scores, shape)
        })?;
        if angles.first().is_some_and(|angle| angle.is_upside_down()) {
            *cut = runtime.turn_over(cut)?;
        }
    }
    Ok(())
}

/// Reads all lines, from narrow to wide; the readings come in the order of `cuts`.
fn recognise<R: Runtime>(
    runtime: &R,
    cuts: &[R::Image],
    alphabet: &ctc::Alphabet,
) -> Result<Vec<ctc::Reading>, R::Error> {
    let mut by_aspect: Vec<(usize, &R::Image, sizes::Size)> = cuts
        .iter()
        .enumerate()
        .map(|(at, cut)| (at, cut, runtime.size(cut)))
        .collect();
    let aspect = |(width, height): sizes::Size| f64::from(width) / f64::from(height.max(1));
    by_aspect.sort_by(|(_, _, a), (_, _, b)| aspect(*a).total_cmp(&aspect(*b)));
    let mut readings: Vec<(usize, ctc::Reading)> = Vec::with_capacity(cuts.len());
    for group in by_aspect.chunks(RECOGNISER_GROUP) {
        let width = group
            .last()
            .map_or(sizes::RECOGNISER_WIDTH_MIN, |(_, _, widest)| {
                sizes::recogniser_width(*widest)
            });
        for part in group.chunks(RECOGNISER_LINES) {
            let lines = part
                .iter()
                .map(|(_, cut, _)| to_line_height(runtime, cut, width))
                .collect::<Result<Vec<_>, _>>()?;
            let input = runtime.normalise(&lines, (width, sizes::LINE_HEIGHT))?;
            let read = runtime.run(Model::Recogniser, input, |shape, values| {
                ctc::decode(values, shape, alphabet)
            })?;
            let at = part.iter().map(|(at, ..)| *at);
            readings.extend(at.zip(read));
        }
    }
    readings.sort_by_key(|(at, _)| *at);
    Ok(readings.into_iter().map(|(_, reading)| reading).collect())
}

/// Scales a line to the common height, as wide as it is but at most `widest`.
fn to_line_height<R: Runtime>(
    runtime: &R,
    line: &R::Image,
    widest: u32,
) -> Result<R::Image, R::Error> {
    let width = sizes::line_width(runtime.size(line), widest);
    runtime.resize(line, (width, sizes::LINE_HEIGHT))
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
    use std::cell::RefCell;

    /// Images are their sizes; the models answer from a script, and each run is noted.
    #[derive(Default)]
    struct Scripted {
        runs: RefCell<Vec<(Model, usize, sizes::Size)>>,
        turned: RefCell<usize>,
        bars: RefCell<u32>,
    }

    type Image = sizes::Size;

    impl Runtime for Scripted {
        type Image = Image;
        type Tensor = (usize, sizes::Size);
        type Error = ModelOutputError;

        fn size(&self, image: &Image) -> sizes::Size {
            *image
        }
        fn resize(&self, _: &Image, size: sizes::Size) -> Result<Image, ModelOutputError> {
            Ok(size)
        }
        fn add_bars(&self, image: &Image, rows: u32) -> Result<Image, ModelOutputError> {
            *self.bars.borrow_mut() = rows;
            Ok((image.0, image.1 + 2 * rows))
        }
        fn warp(&self, _: &Image, _: &Quad, size: sizes::Size) -> Result<Image, ModelOutputError> {
            Ok(size)
        }
        fn lay_down(&self, image: &Image) -> Result<Image, ModelOutputError> {
            Ok((image.1, image.0))
        }
        fn turn_over(&self, image: &Image) -> Result<Image, ModelOutputError> {
            *self.turned.borrow_mut() += 1;
            Ok(*image)
        }
        fn normalise(
            &self,
            images: &[Image],
            size: sizes::Size,
        ) -> Result<Self::Tensor, ModelOutputError> {
            assert!(images.iter().all(|(w, h)| *w <= size.0 && *h <= size.1));
            Ok((images.len(), size))
        }
        fn run<T>(
            &self,
            model: Model,
            (count, size): Self::Tensor,
            read: impl FnOnce(&[usize], &[f32]) -> Result<T, ModelOutputError>,
        ) -> Result<T, ModelOutputError> {
            self.runs.borrow_mut().push((model, count, size));
            let (width, height) = (size.0 as usize, size.1 as usize);
            match model {
                Model::Detector => {
                    // Two bars side by side, and one that stands below them.
                    let inside = |x: usize, y: usize| {
                        let line = (40..64).contains(&y)
                            && ((20..300).contains(&x) || (400..500).contains(&x));
                        line || ((100..300).contains(&y) && (40..70).contains(&x))
                    };
                    let map: Vec<f32> = (0..width * height)
                        .map(|at| f32::from(u8::from(inside(at % width, at / width))))
                        .collect();
                    read(&[1, 1, height, width], &map)
                }
                Model::AngleClassifier => read(&[count, 2], &[0.04, 0.96].repeat(count)),
                Model::Recogniser => {
                    // The i-th line reads as the i-th letter.
                    let values: Vec<f32> = (1..=count)
                        .flat_map(|line| [0, 1, 2, 3, 4].map(|c| if c == line { 0.8 } else { 0.0 }))
                        .collect();
                    read(&[count, 1, 5], &values)
                }
            }
        }
    }

    #[test]
    fn a_page_is_read_in_reading_order_whatever_the_order_of_the_runs_is() {
        let runtime = Scripted::default();
        let lines = read(&runtime, (736, 736), &ctc::Alphabet::parse("a\nb\nc")).unwrap();
        // Runs go from narrow to wide: the short bar is "a", the standing one "b", the long one "c".
        assert_eq!(
            lines.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(),
            ["c", "a", "b"]
        );
        assert_eq!(*runtime.turned.borrow(), 3);
        let runs = runtime.runs.borrow();
        assert_eq!(
            runs.iter()
                .map(|(model, count, _)| (*model, *count))
                .collect::<Vec<_>>(),
            [
                (Model::Detector, 1),
                (Model::AngleClassifier, 1),
                (Model::AngleClassifier, 1),
                (Model::AngleClassifier, 1),
                (Model::Recogniser, 3)
            ]
        );
        assert_eq!(runs[0].2, (736, 736));
    }

    #[test]
    fn outlines_are_in_the_pixels_of_the_picture_as_it_came() {
        let runtime = Scripted::default();
        let lines = read(&runtime, (4000, 4000), &ctc::Alphabet::parse("a\nb\nc")).unwrap();
        let right = lines.iter().map(|l| l.outline[1][0]).fold(0.0, f32::max);
        assert!(
            right > 900.0 && right < 1100.0,
            "500 of 1984 is about {} of 4000, got {right}",
            4000 * 500 / 1984
        );
    }

    #[test]
    fn a_very_wide_picture_gets_bars() {
        let runtime = Scripted::default();
        read(&runtime, (1600, 60), &ctc::Alphabet::parse("a\nb\nc")).unwrap();
        assert_eq!(*runtime.bars.borrow(), 170);
    }
}
