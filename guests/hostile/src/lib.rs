//! A preprocessor that misbehaves as the sample's payload says, for tests of the host.

use std::time::Duration;

use hotshoe_sdk::prelude::*;

/// The angle classifier's input.
const SHAPE: [u32; 4] = [1, 3, 48, 192];

/// The size of each allocation when it allocates without end.
const BOMB_BYTES: usize = 1 << 20;

struct Hostile;

impl Preprocessor for Hostile {
    fn prepare(sample: &Sample) -> Result<Vec<NamedTensor>> {
        match sample.read().trim_ascii() {
            b"loop" => loop_for_ever(),
            b"bomb" => allocate_for_ever(),
            b"tensors" => keep_tensors(),
            b"trap" => trap(),
            b"recursion" => zeros(&[recurse(0)]),
            b"names" => Ok(vec![NamedTensor {
                name: "no-such-input".into(),
                tensor: Tensor::from_f32(&SHAPE, &vec![0.0; 27_648])?,
            }]),
            b"sleep" => {
                // Without WASI this traps.
                std::thread::sleep(Duration::from_hours(1));
                zeros(&SHAPE)
            }
            b"shape" => zeros(&[1, 3, 5]),
            b"error" => Err(Error::invalid_input("the sample asked for an error")),
            _ => zeros(&SHAPE),
        }
    }
}

fn zeros(shape: &[u32]) -> Result<Vec<NamedTensor>> {
    let count = shape.iter().map(|length| *length as usize).product();
    Ok(vec![NamedTensor {
        name: "x".into(),
        tensor: Tensor::from_f32(shape, &vec![0.0; count])?,
    }])
}

fn loop_for_ever() -> ! {
    let mut step = 0u64;
    loop {
        step = std::hint::black_box(step.wrapping_add(1));
    }
}

/// Recursion deeper than any stack, which no optimiser turns into a loop.
#[allow(unconditional_recursion, reason = "it is what this is for")]
fn recurse(depth: u32) -> u32 {
    let own = std::hint::black_box([depth; 64]);
    recurse(depth.wrapping_add(1)).wrapping_add(std::hint::black_box(own)[7])
}

fn allocate_for_ever() -> ! {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(std::hint::black_box(vec![1; BOMB_BYTES]));
    }
}

/// Holds tensors of the host until the host refuses one, and returns its message.
fn keep_tensors() -> Result<Vec<NamedTensor>> {
    let bytes = vec![0; BOMB_BYTES];
    let mut kept = Vec::new();
    loop {
        kept.push(Tensor::from_u8(&[BOMB_BYTES as u32], &bytes)?);
    }
}

fn trap() -> ! {
    // With `panic = "abort"` this is the instruction `unreachable`.
    std::process::abort()
}

hotshoe_sdk::preprocessor!(Hostile);
