//! A stage that only reads the sample's bytes: the lightest pipeline that still reads all of its input.

use hotshoe_sdk::prelude::*;

struct Measure;

impl Stage for Measure {
    fn process(sample: &Sample) -> Result<Insight> {
        let bytes = sample.read();
        let sum = bytes
            .iter()
            .fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        Ok(Insight::Scalars(vec![
            scalar("bytes", bytes.len() as f64),
            scalar("sum", sum.into()),
        ]))
    }
}

fn scalar(name: &str, value: f64) -> Scalar {
    Scalar {
        name: name.into(),
        value,
        unit: String::new(),
    }
}

hotshoe_sdk::stage!(Measure);
