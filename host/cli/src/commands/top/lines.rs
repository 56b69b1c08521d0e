//! The lines of a view. All texts of devices, releases and components get onto the screen through here, where they are made harmless.

use hotshoe_trust::printable;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

/// Longest text that is shown, in characters.
const LONGEST: usize = 1_000;
/// Columns of the labels on the left.
const LABEL: usize = 10;
/// Columns between those of a table.
const GAP: usize = 2;

/// What a text says of its subject.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// Ordinary.
    #[default]
    Plain,
    /// Less important.
    Dim,
    /// A title.
    Bold,
    /// As it should be.
    Good,
    /// Worse than it should be.
    Warning,
    /// It does not work.
    Bad,
}

impl Tone {
    /// [`Tone::Warning`] if there is something to warn of.
    pub(super) const fn warning_if(is_so: bool) -> Self {
        if is_so { Self::Warning } else { Self::Plain }
    }

    /// How it looks. Without colours, the words have to do: only titles are emphasised.
    pub(super) const fn style(self, has_colour: bool) -> Style {
        let style = Style::new();
        match self {
            Self::Plain => style,
            Self::Bold => style.add_modifier(Modifier::BOLD),
            _ if !has_colour => style,
            Self::Dim => style.add_modifier(Modifier::DIM),
            Self::Good => style.fg(Color::Green),
            Self::Warning => style.fg(Color::Yellow),
            Self::Bad => style.fg(Color::Red),
        }
    }
}

/// A text with its tone.
pub(super) type Cell = (Tone, String);

/// A cell of a plain text.
pub(super) fn plain(text: impl ToString) -> Cell {
    (Tone::Plain, text.to_string())
}

/// The lines of a view.
#[derive(Debug)]
pub(super) struct Lines {
    lines: Vec<Line<'static>>,
    has_colour: bool,
    /// Columns of the screen.
    width: usize,
    /// The line that has to be visible.
    pub marked: Option<usize>,
}

impl Lines {
    pub(super) const fn new(width: usize, has_colour: bool) -> Self {
        Self {
            lines: Vec::new(),
            has_colour,
            width,
            marked: None,
        }
    }

    pub(super) fn into_lines(self) -> Vec<Line<'static>> {
        self.lines
    }

    /// An empty line, except at the top.
    pub(super) fn gap(&mut self) {
        if !self.lines.is_empty() {
            self.lines.push(Line::default());
        }
    }

    /// A title, after an empty line.
    pub(super) fn title(&mut self, text: &str) {
        self.gap();
        self.lines.push(self.span(Tone::Bold, text).into());
    }

    /// A label and a text, which goes on in further lines where it is too long for one.
    pub(super) fn fact(&mut self, label: &str, tone: Tone, text: &str) {
        let room = self.width.saturating_sub(LABEL).max(LABEL);
        for (number, piece) in wrapped(&shown(text), room).into_iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            let label = Span::raw(format!("{:<LABEL$}", shown(label)));
            let style = tone.style(self.has_colour);
            self.lines
                .push(Line::from(vec![label, Span::styled(piece, style)]));
        }
    }

    /// A text over the whole width.
    pub(super) fn text(&mut self, tone: Tone, text: &str) {
        let style = tone.style(self.has_colour);
        for piece in wrapped(&shown(text), self.width.max(LABEL)) {
            self.lines.push(Span::styled(piece, style).into());
        }
    }

    /// A table of texts.
    pub(super) fn table(&mut self, head: &[&str], rows: Vec<Vec<Cell>>) {
        self.aligned(head, rows, false, None);
    }

    /// A table of figures: all columns except the first are aligned to the right.
    pub(super) fn figures(&mut self, head: &[&str], rows: Vec<Vec<Cell>>) {
        self.aligned(head, rows, true, None);
    }

    /// A table with a row that is marked.
    pub(super) fn choice(&mut self, head: &[&str], rows: Vec<Vec<Cell>>, chosen: Option<usize>) {
        self.aligned(head, rows, false, chosen);
    }

    fn aligned(
        &mut self,
        head: &[&str],
        rows: Vec<Vec<Cell>>,
        to_right: bool,
        chosen: Option<usize>,
    ) {
        let head = head.iter().map(|title| self.span(Tone::Bold, title));
        let mut cells = vec![head.collect::<Vec<_>>()];
        cells.extend(rows.iter().map(|row| {
            let row = row.iter().map(|(tone, text)| self.span(*tone, text));
            row.collect::<Vec<_>>()
        }));
        let mut widths: Vec<usize> = Vec::new();
        for row in &cells {
            for (column, cell) in row.iter().enumerate() {
                match widths.get_mut(column) {
                    Some(width) => *width = cell.width().max(*width),
                    None => widths.push(cell.width()),
                }
            }
        }
        for (number, row) in cells.into_iter().enumerate() {
            let last = row.len().saturating_sub(1);
            let mut spans = Vec::new();
            for (column, cell) in row.into_iter().enumerate() {
                let wide = widths.get(column).copied().unwrap_or_default();
                let blank = " ".repeat(wide.saturating_sub(cell.width()));
                if to_right && column > 0 {
                    spans.extend([Span::raw(blank), cell]);
                } else if column < last {
                    spans.extend([cell, Span::raw(blank)]);
                } else {
                    spans.push(cell);
                }
                if column < last {
                    spans.push(Span::raw(" ".repeat(GAP)));
                }
            }
            let mut line = Line::from(spans);
            if chosen.is_some_and(|chosen| chosen + 1 == number) {
                self.marked = Some(self.lines.len());
                line = line.style(Style::new().add_modifier(Modifier::REVERSED));
            }
            self.lines.push(line);
        }
    }

    fn span(&self, tone: Tone, text: &str) -> Span<'static> {
        Span::styled(shown(text), tone.style(self.has_colour))
    }
}

/// A text as the screen shows it: in one line, of a limited length, without what a terminal acts on.
pub(super) fn shown(text: &str) -> String {
    let all = text.chars().count();
    if all <= LONGEST {
        return printable(text, &[]);
    }
    let first: String = text.chars().take(LONGEST).collect();
    format!("{}... ({all} characters)", printable(&first, &[]))
}

/// A text in lines of at most `width` columns, broken between words where there are some.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let columns = |text: &str| Span::raw(text).width();
    if columns(text) <= width {
        return vec![text.to_owned()];
    }
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_inclusive(' ') {
        if !line.is_empty() && columns(&line) + columns(word.trim_end()) > width {
            lines.push(std::mem::take(&mut line));
        }
        if columns(word) <= width {
            line.push_str(word);
            continue;
        }
        for letter in word.chars() {
            if columns(&line) + columns(letter.encode_utf8(&mut [0; 4])) > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(letter);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn texts(lines: Lines) -> Vec<String> {
        let lines = lines.into_lines().into_iter();
        lines.map(|line| line.to_string()).collect()
    }

    #[test]
    fn a_table_has_columns_of_one_width() {
        let mut lines = Lines::new(80, true);
        let rows = vec![
            vec![plain("a"), plain(1)],
            vec![plain("\u{4e2d}\u{6587}"), (Tone::Bad, "100".to_owned())],
        ];
        lines.figures(&["stage", "samples"], rows.clone());
        lines.choice(&["stage", "samples"], rows, Some(1));
        assert_eq!(lines.marked, Some(5));
        assert_eq!(
            texts(lines),
            [
                "stage  samples",
                "a            1",
                "\u{4e2d}\u{6587}       100",
                "stage  samples",
                "a      1",
                "\u{4e2d}\u{6587}   100",
            ]
        );
    }

    #[test]
    fn a_long_text_goes_on_below_its_label() {
        let mut lines = Lines::new(20, false);
        lines.fact("release", Tone::Plain, "one two three four");
        lines.fact("key", Tone::Plain, "0123456789abcdef");
        lines.fact("empty", Tone::Plain, "");
        assert_eq!(
            texts(lines),
            [
                "release   one two ",
                "          three four",
                "key       0123456789",
                "          abcdef",
                "empty     ",
            ]
        );
    }

    #[test]
    fn a_hostile_text_is_one_harmless_line() {
        let mut lines = Lines::new(80, true);
        lines.title("\u{1b}[2J\u{202e}gpj\n");
        let million = "x".repeat(1 << 20);
        lines.table(&["a"], vec![vec![plain(&million)]]);
        let lines = texts(lines);
        assert_eq!(lines[0], "\\u{1b}[2J\\u{202e}gpj\\n");
        assert!(lines[2].ends_with("x... (1048576 characters)"));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn without_colours_only_titles_are_emphasised() {
        for tone in [Tone::Plain, Tone::Dim, Tone::Good, Tone::Warning, Tone::Bad] {
            assert_eq!(tone.style(false), Style::new());
        }
        assert_eq!(Tone::Bad.style(true).fg, Some(Color::Red));
        assert!(Tone::Bold.style(false).add_modifier == Modifier::BOLD);
    }
}
