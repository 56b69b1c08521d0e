//! `hotshoe top` in a pseudo terminal, with real daemons: its figures are those of `hotshoe status --json`.

use std::io::{BufRead, BufReader, Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use hotshoe_config::Config;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use vt100::{Color, Parser};

use super::site::{Site, light};
use super::support::{DEADLINE, Device, environment, failure, hotshoe, success};

/// What the command has written, as a terminal shows it.
struct Shown {
    parser: Parser,
    is_over: bool,
}

/// `hotshoe top` in a terminal, killed when it is dropped.
struct Top {
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
    fn open(rows: u16, columns: u16, arguments: &[&str], has_colour: bool) -> Self {
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

    fn keys(&mut self, keys: &str) {
        let hex: String = keys.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.order(&format!("keys {hex}"));
    }

    fn resize(&mut self, rows: u16, columns: u16) {
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
    fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
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
    fn shows(&self, words: &str) -> String {
        self.until(words, |text| text.contains(words))
    }

    /// Whether a cell of the screen has a colour.
    fn has_colours(&self) -> bool {
        let shown = self.shown.0.lock().unwrap();
        let screen = shown.parser.screen();
        let (rows, columns) = screen.size();
        let (rows, columns) = (rows.get(), columns.get());
        let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let mut cells = places.filter_map(|(row, column)| screen.cell(row, column));
        cells.any(|cell| cell.fgcolor() != Color::Default || cell.bgcolor() != Color::Default)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id).unwrap(), signal).unwrap();
    }

    /// Waits for its end: exit code 0, and a terminal that is as it was before.
    #[track_caller]
    fn ends(mut self) {
        let mut report = String::new();
        self.reports.read_line(&mut report).unwrap();
        assert_eq!(report.trim(), "restored 0");
        self.child.wait().unwrap();
        let mut shown = self.shown.0.lock().unwrap();
        while !shown.is_over {
            shown = self.shown.1.wait(shown).unwrap();
        }
        let screen = shown.parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        // The end of its orders ends the terminal and what runs in it.
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}

/// What `hotshoe status --json` says of the device on this machine.
fn status(config: &Path) -> Value {
    let config = config.display().to_string();
    let text = success(["status", "--config", &config, "--json"]);
    let mut devices: Vec<Value> = serde_json::from_str(&text).unwrap();
    devices.pop().unwrap()
}

/// The figures of the pipeline and the queue in a status, as the screen has them.
fn figures(status: &Value) -> Vec<Vec<String>> {
    let text = |value: &Value| match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    };
    let counters = &status["counters"];
    let mut rows: Vec<Vec<String>> = Vec::new();
    for stage in status["stages"].as_array().unwrap() {
        let columns = ["name", "count", "p50_us", "p95_us", "p99_us"];
        rows.push(columns.map(|name| text(&stage[name])).to_vec());
    }
    let dropped = counters["dropped"].as_object().unwrap().values();
    let dropped: u64 = dropped.map(|count| count.as_u64().unwrap()).sum();
    let mut line = |words: String| rows.push(words.split(' ').map(str::to_owned).collect());
    line(format!(
        "samples {} accepted, {} results, {dropped} dropped, {} failed, {} in flight",
        counters["accepted"], counters["results"], counters["failed"], counters["in_flight"]
    ));
    let queue = &status["queue"];
    line(format!(
        "queue {} of {}, {} when full, {} workers",
        queue["len"],
        queue["capacity"],
        text(&queue["policy"]),
        status["workers"]
    ));
    let release = &status["release"];
    line(format!(
        "release {} generation {}, signed by {}",
        text(&release["name"]),
        release["generation"],
        text(&release["signers"][0])
    ));
    rows
}

/// Whether a screen has all these rows; a row may go on.
fn has(text: &str, rows: &[Vec<String>]) -> bool {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    rows.iter().all(|row| {
        let is_row =
            |line: &Vec<&str>| line.len() >= row.len() && line.iter().zip(row).all(|(a, b)| a == b);
        lines.iter().any(is_row)
    })
}

fn endpoint(device: &Device) -> String {
    let config = Config::load(&device.config).unwrap();
    config.zenoh.listen[0].clone()
}

#[test]
fn the_figures_are_those_of_the_status_over_the_socket_and_over_zenoh() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let device = site.device("cam", &installed, "");
    let daemon = device.run();
    let config = device.config.display().to_string();
    let endpoint = endpoint(&device);
    let over_socket = ["--config", config.as_str()];
    let over_zenoh = ["--site", "lab", "--device", "cam", "--connect", &endpoint];
    let tops = [
        Top::open(40, 120, &over_socket, true),
        Top::open(40, 120, &over_zenoh, true),
    ];
    tops[0].shows("connected by the control socket");
    tops[1].shows("connected by Zenoh");
    for samples in [5, 7] {
        let before = status(&device.config)["counters"]["results"]
            .as_u64()
            .unwrap();
        let one = ("sample", b"abc".to_vec());
        daemon.feed(&vec![one; samples]);
        let results = before + samples as u64;
        // Idle: from here on nothing counts.
        daemon.wait_until(|state| {
            let mut stages = state["stages"].as_array().unwrap().iter();
            state["counters"]["results"] == results
                && state["counters"]["in_flight"] == 0
                && stages.any(|stage| stage["name"] == "total" && stage["count"] == results)
        });
        let expected = figures(&status(&device.config));
        assert!(expected.len() >= 6, "{expected:?}");
        for top in &tops {
            top.until(&format!("{expected:?}"), |text| has(text, &expected));
        }
        assert_eq!(figures(&status(&device.config)), expected);
    }
}

#[test]
fn every_view_is_shown_at_every_size_and_q_restores_the_terminal() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let device = site.device("cam", &installed, "");
    let daemon = device.run();
    let config = device.config.display().to_string();
    let mut top = Top::open(24, 80, &["--config", &config], true);
    top.shows("lab/cam  hotshoe ");
    top.shows("connected by the control socket");
    assert!(top.has_colours());
    let state = status(&device.config);
    top.keys("2");
    top.shows(&format!("id {}", state["session"]["id"].as_str().unwrap()));
    top.keys("3");
    top.shows("Slots");
    top.keys("4");
    top.until("the events", |text| {
        !text.contains("Slots") && text.contains("lab/cam")
    });
    top.keys("?");
    top.shows("show the next view");
    top.keys("?1");
    top.resize(40, 132);
    top.until("a line at the bottom of the larger screen", |text| {
        let foot = text.lines().nth(39);
        foot.is_some_and(|line| line.starts_with("? keys")) && text.contains("Pipeline")
    });
    top.resize(5, 20);
    top.until("a small screen", |text| {
        text.contains("release") && !text.contains("? keys")
    });
    top.resize(24, 80);
    top.shows("? keys");
    top.keys("q");
    top.ends();
    assert!(daemon.stop().success());
}

#[test]
fn a_terminal_that_does_not_say_its_size_has_24_lines_of_80_columns() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let device = site.device("cam", &installed, "");
    let _daemon = device.run();
    let config = device.config.display().to_string();
    let mut top = Top::open(0, 0, &["--config", &config], true);
    let text = top.shows("? keys");
    assert_eq!(text.lines().count(), 24, "{text}");
    top.keys("q");
    top.ends();
}

#[test]
fn a_lost_connection_is_said_and_found_again_and_a_signal_restores_the_terminal() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let device = site.device("cam", &installed, "");
    let daemon = device.run();
    let config = device.config.display().to_string();
    let top = Top::open(24, 100, &["--config", &config], false);
    top.shows("connected by the control socket");
    assert!(!top.has_colours());
    daemon.kill();
    let text = top.shows("LOST since ");
    assert!(text.contains("no daemon uses"), "{text}");
    assert!(
        text.contains("light generation 1"),
        "the last figures stay: {text}"
    );
    assert!(!top.has_colours());
    let _daemon = device.run();
    top.shows("connected by the control socket");
    top.signal(Signal::TERM);
    top.ends();
}

#[test]
fn a_site_is_a_table_in_which_a_device_that_is_gone_stays() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let devices = ["a", "b"].map(|name| site.device(name, &installed, ""));
    let [_first, second] = devices.each_ref().map(Device::run);
    let endpoints = devices.each_ref().map(endpoint);
    let mut top = Top::open(
        24,
        120,
        &[
            "--site",
            "lab",
            "--connect",
            &endpoints[0],
            "--connect",
            &endpoints[1],
        ],
        true,
    );
    top.shows("2 devices: ");
    top.keys("\r");
    top.shows("lab/a  hotshoe ");
    top.shows("light generation 1");
    top.keys("1");
    top.shows("last rollback");
    second.kill();
    top.shows("1 no answer");
    top.keys("\u{1b}[B\r");
    top.shows("lab/b does not answer.");
    top.keys("\u{3}");
    top.ends();
}

#[test]
fn without_a_terminal_the_error_names_the_status() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let device = site.device("cam", &installed, "");
    let config = device.config.display().to_string();
    let refused = failure(["top", "--config", &config]);
    assert!(refused.starts_with("no_terminal: "), "{refused}");
    assert!(refused.contains("`hotshoe status --json`"), "{refused}");
    let output = hotshoe(["top", "--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("use `hotshoe status`"), "{text}");
    assert!(output.stdout.is_empty());
}
