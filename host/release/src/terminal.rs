//! Output of commands: results to standard output, everything else to standard error.
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use anyhow::Context;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use hotshoe_devkit::Progress;
use hotshoe_trust::{printable, printable_json};
use serde::Serialize;
use std::io::{self, Write};

use crate::logging;

/// The output settings of this run.
#[derive(Debug, Clone)]
pub struct Terminal {
    /// Whether results are JSON on standard output.
    pub json: bool,
    colour: bool,
    error_colour: bool,
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

impl Terminal {
    /// Uses colours on terminals that show them, unless `NO_COLOR` is set (no-color.org); `CLICOLOR_FORCE` uses them elsewhere too.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            colour: !json && AutoStream::choice(&io::stdout()) != ColorChoice::Never,
            error_colour: AutoStream::choice(&io::stderr()) != ColorChoice::Never,
        }
    }

    /// Whether standard output has colours.
    pub const fn has_colour(&self) -> bool {
        self.colour
    }

    /// Prints a line of the result to standard output.
    pub fn print(&self, line: impl AsRef<str>) -> anyhow::Result<()> {
        self.write(&shown(line.as_ref(), self.colour))
    }

    /// Prints the whole result as one JSON value to standard output.
    pub fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        self.write(&printable_json(&serde_json::to_string_pretty(value)?))
    }

    /// Prints one JSON value on one line, for streamed results.
    pub fn json_line(&self, value: &impl Serialize) -> anyhow::Result<()> {
        self.write(&printable_json(&serde_json::to_string(value)?))
    }

    fn write(&self, line: &str) -> anyhow::Result<()> {
        writeln!(io::stdout().lock(), "{line}").context("cannot write to standard output")
    }

    /// Prints a remark to standard error. Ignores errors.
    pub fn note(&self, line: impl AsRef<str>) {
        logging::note(&shown(line.as_ref(), self.error_colour));
    }

    /// Formats a table with columns that fit their contents.
    pub fn table(&self, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
        self.unaligned(header, rows).to_string()
    }

    /// Formats a table of figures: all columns except the first are aligned to the right.
    pub fn figures(&self, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let mut table = self.unaligned(header, rows);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }

    fn unaligned(&self, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(header.iter().map(|title| cell(&self.bold(title))))
            .add_rows(
                rows.into_iter()
                    .map(|row| row.iter().map(|text| cell(text)).collect::<Vec<_>>()),
            );
        table
    }

    /// Bars and spinners on standard error, or plain lines if it is not a terminal.
    pub fn progress(&self) -> Progress {
        Progress::automatic().showing(|text| printable(text, &[]))
    }

    /// Emphasis.
    pub fn bold(&self, text: &str) -> String {
        paint(self.colour, BOLD, text)
    }

    /// Less important text.
    pub fn dim(&self, text: &str) -> String {
        paint(self.colour, DIM, text)
    }

    /// A good result.
    pub fn good(&self, text: &str) -> String {
        paint(self.colour, GREEN, text)
    }

    /// A warning.
    pub fn warning(&self, text: &str) -> String {
        paint(self.colour, YELLOW, text)
    }

    /// A bad result.
    pub fn bad(&self, text: &str) -> String {
        paint(self.colour, RED, text)
    }

    /// The first word of an error on standard error.
    pub fn error_word(&self, word: &str) -> String {
        paint(self.error_colour, RED, word)
    }

    /// An outcome on standard error.
    pub fn ending(&self, good: bool, text: &str) -> String {
        paint(self.error_colour, if good { GREEN } else { RED }, text)
    }
}

/// A cell of a table. The table measures its text, so colours become attributes of the cell.
fn cell(text: &str) -> Cell {
    let painted = [BOLD, DIM, RED, GREEN, YELLOW].iter().find_map(|style| {
        let text = text.strip_prefix(&style.render().to_string())?;
        Some((
            *style,
            text.strip_suffix(&style.render_reset().to_string())?,
        ))
    });
    let Some((style, text)) = painted else {
        return Cell::new(text);
    };
    let cell = Cell::new(text);
    match style {
        BOLD => cell.add_attribute(Attribute::Bold),
        DIM => cell.add_attribute(Attribute::Dim),
        RED => cell.fg(Color::DarkRed),
        GREEN => cell.fg(Color::DarkGreen),
        YELLOW => cell.fg(Color::DarkYellow),
        _ => cell,
    }
}

/// Escapes control characters, because text may come from a component, a peer or a release. Keeps line ends, tabs and, with `colour`, colour
/// codes.
fn shown(text: &str, colour: bool) -> String {
    const KEPT: [char; 2] = ['\n', '\t'];
    if !colour {
        return printable(text, &KEPT);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        out.push_str(&printable(before, &KEPT));
        let end = after.find(|c: char| !c.is_ascii_digit() && c != ';');
        let paint = end.and_then(|end| after.split_at_checked(end));
        match paint.and_then(|(code, rest)| Some((code, rest.strip_prefix('m')?))) {
            Some((code, behind)) => {
                out.push_str("\x1b[");
                out.push_str(code);
                out.push('m');
                rest = behind;
            }
            None => {
                out.push_str(&printable("\x1b[", &KEPT));
                rest = after;
            }
        }
    }
    out.push_str(&printable(rest, &KEPT));
    out
}

fn paint(colour: bool, style: Style, text: &str) -> String {
    if colour {
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

/// A number of bytes for people: `4.7 MB`, in powers of 1000.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = "kB";
    for next in UNITS {
        unit = next;
        // 999.95 would be printed as 1000.0.
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_given_in_the_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (4_745_517, "4.7 MB"),
            (999_949, "999.9 kB"),
            (999_960, "1.0 MB"),
            (2_000_000_000, "2.0 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn colours_take_no_width_in_a_table() {
        let painted = cell(&paint(true, GREEN, "live"));
        assert_eq!(painted.content(), "live");
        assert_eq!(cell("plain").content(), "plain");
    }

    #[test]
    fn control_characters_are_escaped() {
        let hostile = "\x1b]0;owned\x07\x1b[2J\u{9b}1m\u{202e}txt\u{2028}\r";
        let text = r"\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}1m\u{202e}txt\u{2028}\r";
        assert_eq!(shown(hostile, false), text);
        assert_eq!(shown(hostile, true), text);
        let painted = paint(true, GREEN, "live");
        assert_eq!(shown(&painted, true), painted);
        assert_eq!(shown(&painted, false), r"\u{1b}[32mlive\u{1b}[0m");
        assert_eq!(shown("a\n\tb \x1b[", true), "a\n\tb \\u{1b}[");
    }

    #[test]
    fn colours_are_for_terminals_only() {
        assert_eq!(paint(false, RED, "no"), "no");
        assert_eq!(paint(true, RED, "no"), "\x1b[31mno\x1b[0m");
    }
}
