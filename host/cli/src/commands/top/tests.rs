//! What the screen shows, on a terminal in memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hotshoe_protocol::status::Status;
use hotshoe_trust::is_active;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use serde_json::json;

use super::app::{App, Connection, Next, View};
use super::draw::{self, Look};
use super::error::TopError;
use super::fixture::{busy, event, status, time};
use super::keys::KEYS;
use super::source::Snapshot;
use crate::fleet::overview::{DeviceReport, Overview};

/// A screen of an app, and its clock.
struct Scene {
    app: App,
    terminal: Terminal<TestBackend>,
    look: Look,
    now: Instant,
}

impl Scene {
    fn new(is_site: bool, columns: u16, rows: u16) -> Self {
        let now = Instant::now();
        Self {
            app: App::new(is_site, now),
            terminal: Terminal::new(TestBackend::new(columns, rows)).unwrap(),
            look: Look {
                has_colour: true,
                zone: TimeZone::UTC,
            },
            now,
        }
    }

    /// Answers a round, which began a second before.
    fn answer(&mut self, statuses: Vec<Status>) {
        self.now += Duration::from_secs(1);
        self.app.must_ask(self.now);
        let reports = statuses.into_iter().map(DeviceReport::own).collect();
        let snapshot = Snapshot {
            devices: Overview::join(reports, Vec::new()),
            by: "Zenoh",
            ..Snapshot::default()
        };
        self.now += Duration::from_secs(1);
        self.app.answered(Ok(snapshot), self.now, time(0));
    }

    fn fail(&mut self, at: i64) {
        self.now += Duration::from_secs(20);
        assert!(self.app.must_ask(self.now), "it asks again");
        let error = TopError::NoDevice {
            of: " cam of site lab".to_owned(),
        };
        self.app.answered(Err(error.into()), self.now, time(at));
    }

    fn key(&mut self, code: KeyCode) -> Next {
        let key = KeyEvent::new(code, KeyModifiers::NONE);
        self.app.key(key, self.now)
    }

    /// The lines of the screen, without the blanks at their ends.
    fn lines(&mut self, now: i64) -> Vec<String> {
        let (app, look) = (&mut self.app, &self.look);
        self.terminal
            .draw(|frame| draw::frame(frame, app, look, time(now)))
            .unwrap();
        let buffer = self.terminal.backend().buffer();
        let rows = buffer.area.rows();
        rows.map(|row| {
            let cells = row.columns().map(|cell| buffer[(cell.x, cell.y)].symbol());
            cells.collect::<String>().trim_end().to_owned()
        })
        .collect()
    }

    fn text(&mut self) -> String {
        self.lines(0).join("\n")
    }

    fn colours(&mut self) -> BTreeSet<String> {
        self.lines(0);
        let cells = self.terminal.backend().buffer().content.iter();
        let colours = cells.flat_map(|cell| [cell.fg, cell.bg]);
        colours.map(|colour| format!("{colour:?}")).collect()
    }
}

#[test]
fn the_pipeline_has_the_figures_of_the_status() {
    let mut scene = Scene::new(false, 100, 30);
    scene.answer(vec![busy()]);
    let lines = scene.lines(0);
    assert_eq!(lines[0], "lab/cam  hotshoe 0.1.0, up 1 s");
    assert_eq!(lines[1], "connected by Zenoh");
    assert_eq!(lines[2], " 1 Live   2 Device   3 Releases   4 Events");
    let body: Vec<&str> = lines[4..].iter().map(String::as_str).collect();
    let expected = [
        "release   labels generation 7, signed by alice",
        "queue     3 of 64, drop-oldest when full, 2 workers",
        "samples   20 accepted, 17 results, 0 dropped, 2 failed, 1 in flight",
        "          failed: trapped 2",
        "",
        "Pipeline",
        "stage   samples  p50 us  p95 us  p99 us  rate /s  failed",
        "queue        20      11      22      33        -       0",
        "detect       18    2100    3200    4300        -       0",
        "read         19     900     950     960        -       2",
        "total        19    3001    4002    5003        -       0",
        "",
        "Models",
        "model   variant  runs on    runs  failed  late",
        "detect  int8     tract/cpu  18    0       3",
        "          detect: tract is faster: 2 ms and 3 ms",
        "          detect cannot run as fp32: memory",
    ];
    assert_eq!(body[..expected.len()], expected);
    let mut later = busy();
    later.stages[3].count += 5;
    scene.answer(vec![later]);
    let text = scene.text();
    // Five samples more within two seconds.
    assert!(
        text.contains("total        24    3001    4002    5003      2.5       0"),
        "{text}"
    );
}

#[test]
fn the_other_views_show_sensors_releases_and_events() {
    let mut scene = Scene::new(false, 100, 40);
    scene.answer(vec![busy()]);
    for (key, expected) in [
        (
            '2',
            vec![
                "small for 12 s: the hottest zone has 76.0 C (3 changes, by the device itself)",
                "hottest zone  76.0 C",
                "50 %",
                "supply",
            ],
        ),
        (
            '3',
            vec![
                "live      labels  6",
                "previous  older   5",
                "trial     labels  7",
                "trial     4 of 9 samples, 5 of 30 s",
                "update    labels generation 7: trial",
            ],
        ),
        ('4', vec!["error ", "cannot restart (panic:"]),
    ] {
        assert_eq!(scene.key(KeyCode::Char(key)), Next::Show);
        let text = scene.text();
        for words in expected {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
    // There is no fifth view.
    scene.key(KeyCode::Char('5'));
    assert_eq!(scene.app.view, View::Events);
    scene.key(KeyCode::Tab);
    assert_eq!(scene.app.view, View::Live);
    scene.key(KeyCode::BackTab);
    assert_eq!(scene.app.view, View::Events);
}

fn named(device: &str, phase: &str) -> Status {
    status(json!({
        "device": device,
        "deploy": {"phase": phase, "release": null, "name": null, "generation": null, "fetched": 0, "total": 0,
            "cause": null, "waiting": null},
    }))
}

#[test]
fn a_site_is_a_table_and_one_of_its_devices_can_be_opened() {
    let mut scene = Scene::new(true, 100, 20);
    let all = || ["a", "b", "c"].map(|name| named(name, "live")).to_vec();
    scene.answer(all());
    let text = scene.text();
    assert!(text.contains("3 devices: 3 live"), "{text}");
    assert!(text.contains(" 1 Site   2 Live "), "{text}");
    scene.key(KeyCode::Down);
    scene.key(KeyCode::Down);
    // Another order of keys or answers does not move the choice.
    let mut fewer = all();
    fewer.remove(0);
    scene.answer(fewer);
    let text = scene.text();
    assert!(text.contains("3 devices: 2 live, 1 no answer"), "{text}");
    scene.key(KeyCode::Enter);
    assert!(scene.lines(0)[0].starts_with("lab/c "));
    scene.key(KeyCode::Esc);
    scene.key(KeyCode::Home);
    scene.key(KeyCode::Enter);
    let text = scene.text();
    assert!(text.contains("lab/a does not answer."), "{text}");
}

#[test]
fn the_chosen_device_of_a_large_site_is_on_the_screen() {
    let mut scene = Scene::new(true, 60, 12);
    let names = (0..200).map(|number| format!("d{number:03}"));
    scene.answer(names.map(|name| named(&name, "live")).collect());
    for (key, shown) in [
        (KeyCode::End, "d199"),
        (KeyCode::PageUp, "d193"),
        (KeyCode::Home, "d000"),
    ] {
        scene.key(key);
        assert!(scene.text().contains(shown), "{shown}: {}", scene.text());
    }
    assert!(scene.text().contains("last rollback"), "the head is there");
}

#[test]
fn columns_to_the_right_end_with_the_widest_line() {
    let mut scene = Scene::new(false, 40, 30);
    scene.answer(vec![busy()]);
    let first = scene.text();
    for _ in 0..100 {
        scene.key(KeyCode::Right);
    }
    let last = scene.text();
    assert!(last != first && last.contains("failed"), "{last}");
    // A key to the left is seen at once.
    scene.key(KeyCode::Left);
    assert_ne!(scene.text(), last);
}

#[test]
fn a_lost_connection_says_since_when_and_keeps_the_last_figures() {
    let mut scene = Scene::new(false, 100, 30);
    assert_eq!(scene.lines(0)[1], "connecting");
    scene.answer(vec![busy()]);
    scene.fail(10);
    scene.fail(30);
    let lines = scene.lines(42);
    assert_eq!(
        lines[1],
        "LOST since 12:00:10, 32 s ago, tries again: no device cam of site lab answers"
    );
    assert!(lines.iter().any(|line| line.starts_with("total        19")));
    scene.answer(vec![busy()]);
    assert_eq!(scene.app.connection, Connection::Connected);
    assert_eq!(scene.lines(60)[1], "connected by Zenoh");
}

#[test]
fn attempts_are_rarer_up_to_every_ten_seconds() {
    let mut scene = Scene::new(false, 80, 24);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        scene.fail(0);
        let left = scene.app.left_to_ask(scene.now).unwrap();
        pauses.push(left.as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
    // Asking again by key does not wait, and a pause asks nothing.
    scene.key(KeyCode::Char('r'));
    assert_eq!(scene.app.left_to_ask(scene.now), Some(Duration::ZERO));
    scene.key(KeyCode::Char('p'));
    assert_eq!(scene.app.left_to_ask(scene.now), None);
    assert!(!scene.app.must_ask(scene.now));
    assert!(scene.text().contains("PAUSED"));
}

#[test]
fn a_large_site_is_asked_less_often() {
    let mut scene = Scene::new(true, 80, 24);
    // The round took a second.
    scene.answer(vec![named("a", "live")]);
    let left = scene.app.left_to_ask(scene.now);
    assert_eq!(left, Some(Duration::from_secs(10)));
}

#[test]
fn keys_are_listed_and_q_and_control_c_end() {
    let mut scene = Scene::new(false, 80, 24);
    scene.key(KeyCode::Char('?'));
    let text = scene.text();
    for (keys, what) in KEYS {
        assert!(text.contains(keys) && text.contains(what), "{keys}: {text}");
    }
    scene.key(KeyCode::Esc);
    assert!(!scene.text().contains("Shift-Tab"));
    assert_eq!(scene.key(KeyCode::Char('q')), Next::Quit);
    let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(scene.app.key(key, scene.now), Next::Quit);
}

#[test]
fn hostile_texts_are_shown_and_do_nothing() {
    let hostile = "\u{1b}[2J\u{9b}1m\u{202e}gpj<script>\n";
    let mut value = serde_json::to_value(busy()).unwrap();
    value["device"] = hostile.into();
    value["release"]["name"] = "x".repeat(1 << 20).into();
    value["release"]["signers"] = json!([hostile]);
    value["slots"]["live"]["name"] = hostile.into();
    value["labels"] = json!({ hostile: hostile });
    value["stages"][0]["name"] = hostile.into();
    value["models"][0]["reason"] = hostile.into();
    value["counters"]["faults"] = json!({ hostile: 1 });
    value["governor"]["plan"]["mode"]["reason"] = hostile.into();
    value["events"] = json!([event("error", "part_died", hostile)]);
    let hostile: Status = serde_json::from_value(value).unwrap();
    for is_site in [false, true] {
        let mut scene = Scene::new(is_site, 200, 60);
        scene.answer(vec![hostile.clone()]);
        for key in ['1', '2', '3', '4', '5'] {
            scene.key(KeyCode::Char(key));
            let lines = scene.lines(0);
            assert!(!lines.concat().contains(is_active), "{lines:#?}");
            let has_it = lines
                .concat()
                .contains("\\u{1b}[2J\\u{9b}1m\\u{202e}gpj<script>\\n");
            assert!(has_it, "{lines:#?}");
        }
    }
}

#[test]
fn without_colours_there_are_none() {
    let mut scene = Scene::new(false, 100, 40);
    scene.answer(vec![busy()]);
    let yellow = format!("{:?}", Color::Yellow);
    assert!(scene.colours().contains(&yellow));
    scene.look.has_colour = false;
    for key in ['1', '2', '3', '4'] {
        scene.key(KeyCode::Char(key));
        let none = BTreeSet::from([format!("{:?}", Color::Reset)]);
        assert_eq!(scene.colours(), none, "{key}");
    }
}

#[test]
fn every_size_of_a_terminal_shows_something() {
    for is_site in [false, true] {
        let mut scene = Scene::new(is_site, 1, 1);
        scene.answer(vec![busy()]);
        for columns in [1, 2, 9, 10, 11, 40, 500] {
            for rows in [1, 2, 7, 8, 9, 24, 200] {
                scene.terminal.backend_mut().resize(columns, rows);
                for key in ['1', '2', '3', '4', '?', '?'] {
                    scene.key(KeyCode::Char(key));
                    scene.key(KeyCode::End);
                    let text = scene.text();
                    assert!(!text.trim().is_empty() || columns <= 10, "{columns}x{rows}");
                }
            }
        }
    }
}
