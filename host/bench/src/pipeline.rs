//! `hotshoe bench pipeline`: components against the same pipelines in plain Rust.

use std::path::Path;

use hotshoe_devkit::Environment;

use super::report::Row;
use super::setup::BenchSetup;
use super::{calls, lines, modes, page, reference, start};
use hotshoe_release::terminal::Terminal;

/// Number of repetitions of each measurement.
struct Rounds {
    classifier: usize,
    recogniser: usize,
    page: usize,
    reference: usize,
    batches: usize,
    starts: usize,
}

/// About two minutes on two cores.
const FULL: Rounds = Rounds {
    classifier: 600,
    recogniser: 100,
    page: 21,
    reference: 5,
    batches: 51,
    starts: 5,
};

/// About half a minute.
const QUICK: Rounds = Rounds {
    classifier: 100,
    recogniser: 20,
    page: 3,
    reference: 2,
    batches: 11,
    starts: 2,
};

/// Returns all rows.
pub(crate) fn measure(
    environment: &Environment,
    quick: bool,
    python: &Path,
    terminal: &Terminal,
) -> anyhow::Result<Vec<Row>> {
    let rounds = if quick { QUICK } else { FULL };
    let setup = BenchSetup::prepare(environment)?;
    let line = lines::first_line(&setup)?;

    terminal.note("measuring        calls");
    let calls = calls::calls(&setup, rounds.batches)?;
    terminal.note("measuring        classify-angle");
    let mut rows = lines::classifier(&setup, &line, rounds.classifier)?;
    terminal.note("measuring        recognise");
    rows.extend(lines::recogniser(&setup, &line, rounds.recogniser)?);

    terminal.note("measuring        page");
    rows.extend(page::page(&setup, rounds.page)?);
    terminal.note("measuring        page with ONNX Runtime");
    rows.extend(reference::page(
        &setup,
        environment,
        python,
        rounds.reference,
        terminal,
    )?);

    rows.extend(calls);
    terminal.note("measuring        memory modes");
    rows.extend(modes::modes(&setup, rounds.batches, terminal)?);
    terminal.note("measuring        starts of the daemon");
    rows.extend(start::start(&setup, &line, rounds.starts)?);
    rows.extend(start::resident(&setup, &line)?);
    Ok(rows)
}
