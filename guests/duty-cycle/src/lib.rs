//! A filter that lets through the samples of the first part of each period, by the time that they were taken at.
//!
//! Settings: `period-seconds`, 60 by default, and `on-seconds`, 10 by default. It needs the grant `config`.

mod bindings;

use bindings::exports::hotshoe::pipeline::admit::{Guest, Verdict};
use bindings::hotshoe::pipeline::config;
use bindings::hotshoe::pipeline::samples::Sample;
use bindings::hotshoe::pipeline::types::{Error, ErrorCode};

const PERIOD_SECONDS: u64 = 60;
const ON_SECONDS: u64 = 10;
const MICROS: u64 = 1_000_000;

struct DutyCycle;

impl Guest for DutyCycle {
    fn admit(sample: &Sample) -> Result<Verdict, Error> {
        let period = seconds("period-seconds", PERIOD_SECONDS)?;
        let on = seconds("on-seconds", ON_SECONDS)?;
        let into = sample.timestamp() / MICROS % period;
        if into < on {
            return Ok(Verdict::Passed);
        }
        Ok(Verdict::Skipped(format!(
            "{into} s into its period of {period} s, of which the first {on} s count"
        )))
    }
}

/// A whole number from 1 on.
fn seconds(key: &str, default: u64) -> Result<u64, Error> {
    let Some(text) = config::get(key) else {
        return Ok(default);
    };
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Error {
            code: ErrorCode::Internal,
            message: format!(
                "the setting {key} is `{text}`, which is not a whole number of at least 1"
            ),
        }),
    }
}

bindings::export!(DutyCycle with_types_in bindings);
