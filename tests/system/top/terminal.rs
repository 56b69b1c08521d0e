//! `hotshoe top` in a pseudo terminal, and its screen.

use std::io::{BufRead, BufReader, Read, Write};
use std::num::NonZeroU16;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use vt100::{Color, Parser};

use crate::support::{DEADLINE, environment};

/// What the command has written, as a terminal shows it.
struct Shown {
    parser: Parser,
    is_over: bool,
}

/// `hotshoe top` in a terminal, killed when it is dropped.
pub(super) struct Top {
    child: Child,
    orders: Option<ChildStdin>,
    reports: BufReader<ChildStderr>,
    id: i32,
    shown: Arc<(Mutex<Shown>, Condvar)>,
}

/// A size of the screen; 0 is that of a terminal which does not say its size.
fn size(number: u16, standard: NonZeroU16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap_or(standard)
}

fn parser(rows: u16, columns: u16) -> Parser {
    let rows = size(rows, Parser::<()>::DEFAULT_ROWS);
    Parser::new(rows, size(columns, Parser::<()>::DEFAULT_COLS), 0)
}

impl Top {
    /// Starts it on a terminal of this size.
    pub(super) fn open(rows: u16, columns: u16, arguments: &[&str], has_colour: bool) -> Self {
        let mut command = Command::new("python3");
        command
            .arg(environment().root.join("tests/system/top.py"))
            .args([rows, columns].map(|number| number.to_string()))
            .args([env!("CARGO_BIN_EXE_hotshoe"), "top"])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env_remove("RUST_LOG")
            .env_remove("CLICOLOR")
            .env_remove("CLICOLOR_FORCE");
        if has_colour {
            command.env_remove("NO_COLOR");
        } else {
            command.env("NO_COLOR", "1");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reports = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        reports.read_line(&mut first).unwrap();
        let shown = Shown {
            parser: parser(rows, columns),
            is_over: false,
        };
        let shown = Arc::new((Mutex::new(shown), Condvar::new()));
        let (written, mut output) = (Arc::clone(&shown), child.stdout.take().unwrap());
        thread::spawn(move || {
            let mut piece = [0; 4096];
            loop {
                let read = output.read(&mut piece).unwrap_or(0);
                let mut shown = written.0.lock().unwrap();
                shown.parser.process(&piece[..read]);
                shown.is_over = read == 0;
                written.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        Self {
            orders: child.stdin.take(),
            child,
            reports,
            id: first.trim().parse().unwrap(),
            shown,
        }
    }

    fn order(&mut self, line: &str) {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "{line}").unwrap();
    }

    pub(super) fn keys(&mut self, keys: &str) {
        let hex: String = keys.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.order(&format!("keys {hex}"));
    }

    pub(super) fn resize(&mut self, rows: u16, columns: u16) {
        let mut shown = self.shown.0.lock().unwrap();
        let rows_now = NonZeroU16::new(rows).unwrap();
        shown
            .parser
            .set_size(rows_now, NonZeroU16::new(columns).unwrap());
        drop(shown);
        self.order(&format!("size {rows} {columns}"));
    }

    /// Waits until the screen is as wanted, and returns its text.
    #[track_caller]
    pub(super) fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + DEADLINE;
        let mut shown = self.shown.0.lock().unwrap();
        loop {
            let text = shown.parser.screen().contents();
            if wanted(&text) {
                return text;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !shown.is_over, "no {what}: {text}");
            shown = self.shown.1.wait_timeout(shown, left).unwrap().0;
        }
    }

    /// Waits until the screen has these words.
    #[track_caller]
    pub(super) fn shows(&self, words: &str) -> String {
        self.until(words, |text| text.contains(words))
    }

    /// Whether a cell of the screen has a colour.
    pub(super) fn has_colours(&self) -> bool {
        let shown = self.shown.0.lock().unwrap();
        let screen = shown.parser.screen();
        let (rows, columns) = screen.size();
        let (rows, columns) = (rows.get(), columns.get());
        let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let mut cells = places.filter_map(|(row, column)| screen.cell(row, column));
        cells.any(|cell| cell.fgcolor() != Color::Default || cell.bgcolor() != Color::Default)
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id).unwrap(), signal).unwrap();
    }

    /// Waits for its end: exit code 0, and a terminal that is as it was before.
    #[track_caller]
    pub(super) fn ends(mut self) {
        let until = Instant::now() + DEADLINE;
        let mut shown = self.shown.0.lock().unwrap();
        while !shown.is_over {
            let left = until.saturating_duration_since(Instant::now());
            let text = shown.parser.screen().contents();
            assert!(!left.is_zero(), "it has not ended: {text}");
            shown = self.shown.1.wait_timeout(shown, left).unwrap().0;
        }
        let screen = shown.parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        drop(shown);
        let mut report = String::new();
        self.reports.read_line(&mut report).unwrap();
        assert_eq!(report.trim(), "restored 0");
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        // The end of its orders ends the terminal and what runs in it.
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}
