//! Private figures, as text.

use hotshoe_protocol::status::Status;
use hotshoe_release::terminal::Terminal;

/// Prints a warning if samples do not count since nothing says who contributed to them.
pub(super) fn show(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let Some(figures) = &status.private_telemetry else {
        return Ok(());
    };
    let samples = figures.samples_without_contributor;
    if samples > 0 {
        let line = format!(
            "figures   {samples} samples without contributor do not count; check `private-telemetry.contributor`"
        );
        terminal.print(terminal.warning(&line))?;
    }
    Ok(())
}
