//! How much the data contract keeps on the device, by class and output.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Most pairs of a class and an output that are counted. A release has fewer; only many releases in one run of the daemon reach it.
const MAX_PAIRS: usize = 1_024;

/// Counts of what the data contract kept on the device since the start, by any part. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct KeptBack(Arc<Mutex<BTreeMap<(String, String), u64>>>);

impl KeptBack {
    /// Counts an output of a class. True for the first one of both.
    pub fn count(&self, class: &str, output: &str) -> bool {
        let (class, output) = (class.to_owned(), output.to_owned());
        metrics::counter!("hotshoe_egress_refused_total", "class" => class.clone(), "output" => output.clone())
            .increment(1);
        let mut counts = self.0.lock();
        let pair = (class, output);
        if !counts.contains_key(&pair) && counts.len() >= MAX_PAIRS {
            return false;
        }
        let count = counts.entry(pair).or_default();
        *count += 1;
        *count == 1
    }

    /// The counts, by class and output.
    pub fn snapshot(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut all: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for ((class, output), count) in self.0.lock().iter() {
            all.entry(class.clone())
                .or_default()
                .insert(output.clone(), *count);
        }
        all
    }
}
