//! A filter that lets through pictures that differ from the last one that it let through: the mean difference of a small grey copy of each.
//!
//! Its instances are per source (`instance = "per-source"`), and keep that copy in their memory. Settings: `min-difference`, from 0 to 1, 0.02 by default;
//! `at-least-every-seconds`, 60 by default, after which a picture is let through in any case. It needs the grants `vision` and `config`.

mod bindings;

use std::cell::RefCell;

use bindings::exports::hotshoe::pipeline::admit::{Guest, Verdict};
use bindings::hotshoe::pipeline::config;
use bindings::hotshoe::pipeline::samples::Sample;
use bindings::hotshoe::pipeline::types::{Error, ErrorCode};
use bindings::hotshoe::pipeline::vision::{self, Filter};

/// Sides of the small copy. Noise of single pixels is averaged out in it.
const WIDTH: u32 = 32;
const HEIGHT: u32 = 24;

const MIN_DIFFERENCE: f64 = 0.02;
const AT_LEAST_EVERY_SECONDS: f64 = 60.0;
const MICROS: f64 = 1e6;

/// The last picture that was let through.
struct Passed {
    luma: Vec<u8>,
    timestamp_us: u64,
}

thread_local! {
    static LAST: RefCell<Option<Passed>> = const { RefCell::new(None) };
}

struct Motion;

impl Guest for Motion {
    fn admit(sample: &Sample) -> Result<Verdict, Error> {
        let min_difference = number("min-difference", MIN_DIFFERENCE)?;
        let at_least_every = number("at-least-every-seconds", AT_LEAST_EVERY_SECONDS)?;
        let luma = small_copy(sample)?;
        let timestamp_us = sample.timestamp();
        let still = LAST.with_borrow(|last| {
            let last = last.as_ref()?;
            let seconds = timestamp_us.saturating_sub(last.timestamp_us) as f64 / MICROS;
            let difference = difference(&luma, &last.luma);
            (difference < min_difference && seconds < at_least_every).then_some(difference)
        });
        if let Some(difference) = still {
            return Ok(Verdict::Skipped(format!(
                "the picture differs by {difference:.4} from the last one that was let through, which is below {min_difference}"
            )));
        }
        LAST.set(Some(Passed { luma, timestamp_us }));
        Ok(Verdict::Passed)
    }
}

/// One byte a pixel.
fn small_copy(sample: &Sample) -> Result<Vec<u8>, Error> {
    let picture = vision::decode(sample, None)?;
    let small = vision::resize(&picture, WIDTH, HEIGHT, Filter::Area)?;
    let grey = vision::grey(&small)?;
    // All three channels are the same.
    Ok(grey.pixels().into_iter().step_by(3).collect())
}

/// The mean difference, from 0 to 1.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    sum as f64 / (a.len().max(1) as f64 * f64::from(u8::MAX))
}

fn number(key: &str, default: f64) -> Result<f64, Error> {
    let Some(text) = config::get(key) else {
        return Ok(default);
    };
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err(Error {
            code: ErrorCode::Internal,
            message: format!("the setting {key} is `{text}`, which is not a number of at least 0"),
        }),
    }
}

bindings::export!(Motion with_types_in bindings);
