//! Discrete Laplace noise, sampled exactly with integers: Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy", NeurIPS
//! 2020 (arXiv:2004.00010), algorithms 1 and 2.
//!
//! Floating-point noise has gaps that reveal the value below it (Mironov, CCS 2012). These samplers use uniform integers and comparisons alone.

use std::{fmt, io};

use crate::epsilon::{Epsilon, MILLION};

/// Random bytes that are fetched at once.
const BUFFER_BYTES: usize = 512;

type Source = Box<dyn FnMut(&mut [u8]) -> io::Result<()> + Send>;

/// A sampler of noise.
pub struct Noise {
    source: Source,
    buffer: [u8; BUFFER_BYTES],
    used: usize,
}

/// The parameters of a discrete Laplace distribution: an integer y has a probability proportional to exp(-|y| · ε / sensitivity).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Numerator of ε / sensitivity.
    numerator: u64,
    /// Its denominator, less than 2^63.
    denominator: u64,
}

impl Scale {
    /// The scale for results that two neighbours change by at most `sensitivity` in sum. `None` if that is zero or does not fit.
    pub fn new(epsilon: Epsilon, sensitivity: u64) -> Option<Self> {
        let denominator = sensitivity
            .checked_mul(MILLION)
            .filter(|product| (1..1 << 63).contains(product))?;
        let numerator = epsilon.millionths();
        let divisor = greatest_common_divisor(numerator, denominator);
        Some(Self {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
        })
    }

    /// The standard deviation of the noise.
    pub fn deviation(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a figure for readers")]
        let exponent = self.numerator as f64 / self.denominator as f64;
        let ratio = (-exponent).exp();
        // 1 - exp(-x), which is exact for small x too.
        (2.0 * ratio).sqrt() / -(-exponent).exp_m1()
    }
}

impl Noise {
    /// Noise from the random numbers of the operating system.
    pub fn system() -> Self {
        Self::from_source(|bytes| {
            getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
        })
    }

    /// Noise from a source that fills a buffer with independent, uniform bytes. Anything but a cryptographic generator is for tests alone.
    pub fn from_source(source: impl FnMut(&mut [u8]) -> io::Result<()> + Send + 'static) -> Self {
        Self {
            source: Box::new(source),
            buffer: [0; BUFFER_BYTES],
            used: BUFFER_BYTES,
        }
    }

    /// A value of the discrete Laplace distribution.
    ///
    /// # Errors
    /// Those of the source.
    pub fn laplace(&mut self, scale: Scale) -> io::Result<i128> {
        let Scale {
            numerator,
            denominator,
        } = scale;
        loop {
            let remainder = self.uniform(denominator)?;
            if !self.bernoulli_exp(remainder, denominator)? {
                continue;
            }
            let mut whole: u128 = 0;
            while self.bernoulli_exp(1, 1)? {
                whole += 1;
            }
            let sum = u128::from(remainder) + u128::from(denominator) * whole;
            let magnitude = i128::try_from(sum / u128::from(numerator)).unwrap_or(i128::MAX);
            let negative = self.uniform(2)? == 1;
            // Zero would be as probable as both signs together.
            match (negative, magnitude) {
                (true, 0) => {}
                (true, magnitude) => return Ok(-magnitude),
                (false, magnitude) => return Ok(magnitude),
            }
        }
    }

    /// True with the probability exp(-numerator / denominator), for a fraction of at most 1.
    fn bernoulli_exp(&mut self, numerator: u64, denominator: u64) -> io::Result<bool> {
        let mut round: u64 = 1;
        // Each round goes on with the probability fraction / round.
        while self.uniform(denominator)? < numerator && self.uniform(round)? == 0 {
            round += 1;
        }
        Ok(round % 2 == 1)
    }

    /// A uniform integer from 0 to `below` - 1. `below` is at least 1.
    fn uniform(&mut self, below: u64) -> io::Result<u64> {
        let last = below.saturating_sub(1);
        let mask = u64::MAX.checked_shr(last.leading_zeros()).unwrap_or(0);
        if mask == 0 {
            return Ok(0);
        }
        loop {
            let candidate = self.next()? & mask;
            if candidate <= last {
                return Ok(candidate);
            }
        }
    }

    fn next(&mut self) -> io::Result<u64> {
        if self.used + 8 > BUFFER_BYTES {
            (self.source)(&mut self.buffer)?;
            self.used = 0;
        }
        let bytes = self.buffer.get_mut(self.used..self.used + 8);
        self.used += 8;
        let Some(bytes) = bytes else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let mut taken = [0; 8];
        taken.copy_from_slice(bytes);
        // Noise that is known can be subtracted: it does not stay in memory.
        bytes.fill(0);
        Ok(u64::from_le_bytes(taken))
    }
}

impl fmt::Debug for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Noise").finish_non_exhaustive()
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}
