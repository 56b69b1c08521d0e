//! Measures two sides alternately, so that load on the machine affects both.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;

/// The named times of one run.
pub(crate) type Timings = Vec<(String, Duration)>;

/// The times of all runs of one side.
#[derive(Debug, Default)]
pub(crate) struct Series(BTreeMap<String, Vec<Duration>>);

impl Series {
    fn add(&mut self, timings: Timings) {
        for (name, time) in timings {
            self.0.entry(name).or_default().push(time);
        }
    }

    /// The median time of `name`, in microseconds.
    pub(crate) fn median(&self, name: &str) -> anyhow::Result<f64> {
        self.0
            .get(name)
            .and_then(|times| median(times))
            .with_context(|| format!("no time was measured for `{name}`"))
    }
}

/// Runs both sides once to warm up and then `rounds` times each. The order changes every round.
pub(crate) fn alternate(
    rounds: usize,
    mut ours: impl FnMut() -> anyhow::Result<Timings>,
    mut theirs: impl FnMut() -> anyhow::Result<Timings>,
) -> anyhow::Result<(Series, Series)> {
    let mut sides = (Series::default(), Series::default());
    ours()?;
    theirs()?;
    for round in 0..rounds {
        if round % 2 == 0 {
            sides.0.add(ours()?);
            sides.1.add(theirs()?);
        } else {
            sides.1.add(theirs()?);
            sides.0.add(ours()?);
        }
    }
    Ok(sides)
}

/// The median in microseconds; none if there are no times.
pub(crate) fn median(times: &[Duration]) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let micros = |at: usize| sorted.get(at).map(|time| time.as_secs_f64() * 1e6);
    let upper = micros(sorted.len() / 2)?;
    let lower = micros((sorted.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

/// A named time.
pub(crate) fn timing(name: impl Into<String>, time: Duration) -> (String, Duration) {
    (name.into(), time)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let times = |millis: &[u64]| -> Vec<Duration> {
            millis
                .iter()
                .map(|&time| Duration::from_millis(time))
                .collect()
        };
        assert_eq!(median(&[]), None);
        assert_eq!(median(&times(&[9, 1, 2])), Some(2000.0));
        assert_eq!(median(&times(&[4, 1, 2, 9])), Some(3000.0));
    }

    #[test]
    fn both_sides_alternate_and_the_first_runs_do_not_count() {
        let order = std::cell::RefCell::new(String::new());
        let run = |side: char| {
            order.borrow_mut().push(side);
            let count = order.borrow().len() as u64;
            Ok(vec![timing("total", Duration::from_micros(count))])
        };
        let (ours, theirs) = alternate(3, || run('o'), || run('t')).unwrap();
        assert_eq!(*order.borrow(), "ototto".to_owned() + "ot");
        assert_eq!(ours.median("total").unwrap(), 6.0);
        assert_eq!(theirs.median("total").unwrap(), 5.0);
        assert!(ours.median("other").is_err());
    }
}
