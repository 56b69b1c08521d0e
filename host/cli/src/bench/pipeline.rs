//! `hotshoe bench pipeline`: components against the same pipelines in plain Rust.

use std::path::Path;

use hotshoe_devkit::Environment;

use super::reference::Reference;
use super::report::Row;
use super::setting::Setting;
use super::{calls, lines, modes, page, start};
use crate::terminal::Terminal;

/// How often each thing is measured.
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

/// All rows.
pub fn measure(
    environment: &Environment,
    quick: bool,
    python: &Path,
    terminal: &Terminal,
) -> anyhow::Result<Vec<Row>> {
    let rounds = if quick { QUICK } else { FULL };
    let setting = Setting::prepare(environment)?;
    let line = lines::first_line(&setting)?;

    terminal.note("measuring        calls");
    let calls = calls::calls(&setting, rounds.batches)?;
    terminal.note("measuring        classify-angle");
    let mut rows = lines::classifier(&setting, &line, rounds.classifier)?;
    terminal.note("measuring        recognise");
    rows.extend(lines::recogniser(&setting, &line, rounds.recogniser)?);

    terminal.note("measuring        page");
    let mut reference = Reference::start(python, &environment.picture(page::PAGE))?;
    if reference.is_none() {
        terminal.note(format!(
            "left out: the row against rapidocr-onnxruntime, which {} cannot import; to have it, `pip install rapidocr-onnxruntime==1.4.4` and name that Python with HOTSHOE_PYTHON",
            python.display()
        ));
    }
    let reference = reference
        .as_mut()
        .map(|reference| (reference, rounds.reference));
    rows.extend(page::page(&setting, rounds.page, reference)?);

    rows.extend(calls);
    terminal.note("measuring        modes of components' memories");
    rows.extend(modes::modes(&setting, rounds.batches, terminal)?);
    terminal.note("measuring        starts of the daemon");
    rows.extend(start::start(&setting, &line, rounds.starts)?);
    rows.extend(start::resident(&setting, &line)?);
    Ok(rows)
}
