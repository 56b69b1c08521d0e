//! The alerts that last, by properties: each is told once, after its cause has lasted, and has ended once the cause has been away.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use hotshoe_daemon::alerts::book::{AlertBook, Finding, Kept, Key, Notice, Now, Reading};
use hotshoe_daemon::serving::PublishedStatus;
use hotshoe_protocol::alert::{AlertKind, AlertSeverity, AlertStatus, MAX_ALERTS, Silence};
use hotshoe_trust::Time;
use proptest::prelude::*;

const AFTER: Duration = Duration::from_secs(3);
const CALM: Duration = Duration::from_secs(5);
const SUBJECTS: [&str; 2] = ["one", "two"];
const KIND: AlertKind = AlertKind::Drift;

fn now(seconds: u64) -> Now {
    Now {
        at: Duration::from_secs(seconds),
        time: Time::UNIX_EPOCH + Duration::from_secs(seconds),
    }
}

fn raised(severity: AlertSeverity) -> Reading {
    Reading::Raised {
        severity,
        text: severity.name().to_owned(),
    }
}

fn finding(subject: &str, reading: Reading) -> Finding {
    Finding {
        key: (KIND, subject.to_owned()),
        reading,
        after: AFTER,
    }
}

/// A step of a second, with one subject alone.
fn step(book: &mut AlertBook, second: u64, reading: Reading) -> Vec<Notice> {
    book.step(vec![finding("one", reading)], CALM, now(second))
}

/// Steps of a second each. Returns what was told, with the second.
fn steps(book: &mut AlertBook, readings: &[Reading], from: u64) -> Vec<(u64, Notice)> {
    let mut told = Vec::new();
    for (second, reading) in (from..).zip(readings) {
        let notices = step(book, second, reading.clone());
        told.extend(notices.into_iter().map(|notice| (second, notice)));
    }
    told
}

fn status(notice: &Notice) -> &AlertStatus {
    match notice {
        Notice::Raised(alert) | Notice::Resolved(alert) => alert,
    }
}

const INFO: AlertSeverity = AlertSeverity::Info;
const WARNING: AlertSeverity = AlertSeverity::Warning;
const CRITICAL: AlertSeverity = AlertSeverity::Critical;

#[test]
fn a_cause_that_lasts_is_one_alert_from_its_begin_to_its_end() {
    let mut book = AlertBook::default();
    let readings = [vec![raised(WARNING); 10], vec![Reading::Clear; 10]].concat();
    let told = steps(&mut book, &readings, 100);
    let seconds: Vec<u64> = told.iter().map(|(second, _)| *second).collect();
    // It begins at 100 and is told 3 s later; the cause is away from 110 on.
    assert_eq!(seconds, [103, 115]);
    assert!(matches!(told[0].1, Notice::Raised(_)));
    assert!(matches!(told[1].1, Notice::Resolved(_)));
    assert_eq!(status(&told[0].1).since, now(100).time);
    assert!(book.alerts(now(120).time).is_empty());
}

#[test]
fn a_cause_that_comes_back_soon_counts_and_is_not_told_again() {
    let mut book = AlertBook::default();
    let mut readings = vec![raised(WARNING); 4];
    for _ in 0..3 {
        readings.extend([Reading::Clear, Reading::Clear, raised(WARNING)]);
    }
    let told = steps(&mut book, &readings, 0);
    assert_eq!(told.len(), 1, "{told:?}");
    let alerts = book.alerts(now(20).time);
    assert_eq!((alerts.len(), alerts[0].count), (1, 4));
}

#[test]
fn a_cause_that_is_too_short_is_never_told() {
    let mut book = AlertBook::default();
    let mut readings = Vec::new();
    for between in [Reading::Clear, Reading::Unknown] {
        readings.extend([
            raised(CRITICAL),
            raised(CRITICAL),
            raised(CRITICAL),
            between,
        ]);
    }
    assert!(steps(&mut book, &readings, 0).is_empty());
    assert!(book.alerts(now(20).time).is_empty());
}

#[test]
fn what_gets_worse_is_told_at_once_and_what_gets_better_after_a_time() {
    let mut book = AlertBook::default();
    let readings = [
        vec![raised(WARNING); 4],
        vec![raised(CRITICAL); 2],
        vec![raised(INFO), raised(WARNING)],
        vec![raised(INFO); 8],
    ]
    .concat();
    let told = steps(&mut book, &readings, 0);
    let told: Vec<_> = told
        .iter()
        .map(|(second, notice)| (*second, status(notice).severity))
        .collect();
    // From 6 on it is better, and was a warning at most; 5 s later it is a warning, and then it begins to count again.
    assert_eq!(told, [(3, WARNING), (4, CRITICAL), (11, WARNING)]);
}

#[test]
fn what_is_not_known_keeps_an_alert_and_what_is_gone_ends_it() {
    let mut book = AlertBook::default();
    let readings = [vec![raised(WARNING); 4], vec![Reading::Unknown; 50]].concat();
    assert_eq!(steps(&mut book, &readings, 0).len(), 1);
    let mut ended = Vec::new();
    for second in 54..60 {
        ended.extend(book.step(Vec::new(), CALM, now(second)));
    }
    assert!(matches!(ended[..], [Notice::Resolved(_)]), "{ended:?}");
}

#[test]
fn a_silenced_alert_is_kept_and_told_when_its_silence_ends() {
    let mut book = AlertBook::default();
    let until = now(20).time;
    let silence = Silence {
        kind: KIND,
        subject: None,
        until,
    };
    book.silence(silence.clone()).unwrap();
    let told = steps(&mut book, &vec![raised(WARNING); 25], 0);
    let seconds: Vec<u64> = told.iter().map(|(second, _)| *second).collect();
    assert_eq!(seconds, [20]);
    // One that was told is told when it ends, silenced or not.
    book.silence(Silence {
        until: now(100).time,
        ..silence
    })
    .unwrap();
    let shown = book.alerts(now(25).time);
    assert_eq!(shown[0].silenced_until, Some(now(100).time));
    let told = steps(&mut book, &[Reading::Clear, Reading::Clear], 25);
    assert!(told.is_empty());
    assert_eq!(steps(&mut book, &[Reading::Clear], 31).len(), 1);
    assert_eq!(book.unsilence(AlertKind::Heat, None), 0);
    assert_eq!(book.unsilence(KIND, Some("one")), 0);
    assert_eq!(book.unsilence(KIND, None), 1);
}

#[test]
fn an_alert_that_was_told_before_a_restart_is_not_told_again_and_ends() {
    let mut book = AlertBook::default();
    steps(&mut book, &vec![raised(WARNING); 4], 100);
    let kept: Kept = serde_json::from_str(&serde_json::to_string(&book.kept()).unwrap()).unwrap();
    assert_eq!(kept, book.kept());
    let mut book = AlertBook::of(kept);
    // The time since the start begins again.
    assert!(steps(&mut book, &vec![raised(WARNING); 10], 0).is_empty());
    assert_eq!(book.alerts(now(10).time)[0].since, now(100).time);
    let told = steps(&mut book, &vec![Reading::Clear; 6], 10);
    assert!(matches!(told[..], [(15, Notice::Resolved(_))]), "{told:?}");
}

#[test]
fn there_are_no_more_alerts_than_fit() {
    let mut book = AlertBook::default();
    let all = |seconds| {
        let subjects = 0..MAX_ALERTS + 3;
        let findings = subjects.map(|it| finding(&it.to_string(), raised(WARNING)));
        (findings.collect::<Vec<_>>(), now(seconds))
    };
    for second in 0..4 {
        let (findings, now) = all(second);
        book.step(findings, CALM, now);
    }
    assert_eq!(book.alerts(now(4).time).len(), MAX_ALERTS);
    assert_eq!(book.left_out(), 3);
}

#[derive(Debug, Clone)]
enum Act {
    Read([Reading; 2]),
    Silence(usize, u64),
    Unsilence(usize),
    Restart,
}

fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        1 => Just(Reading::Unknown),
        4 => Just(Reading::Clear),
        6 => prop::sample::select(vec![INFO, WARNING, CRITICAL]).prop_map(raised),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        20 => [reading(), reading()].prop_map(Act::Read),
        1 => (0..2_usize, 1..20_u64).prop_map(|(subject, seconds)| Act::Silence(subject, seconds)),
        1 => (0..2_usize).prop_map(Act::Unsilence),
        1 => Just(Act::Restart),
    ]
}

/// What was read of a subject, with the seconds.
type Read = BTreeMap<Key, Vec<(u64, Reading)>>;

/// The last second before `end` in which the cause was there.
fn last_raised(read: &[(u64, Reading)]) -> Option<u64> {
    let mut raised = read.iter().rev();
    raised
        .find(|(_, reading)| matches!(reading, Reading::Raised { .. }))
        .map(|(second, _)| *second)
}

proptest! {
    /// Whatever is read, silenced and restarted: an alert is told once for each severity, ends once, and only after its time.
    #[test]
    fn each_alert_is_told_once_and_ends_once(acts in prop::collection::vec(act(), 1..200)) {
        let mut book = AlertBook::default();
        let mut told: BTreeMap<Key, AlertSeverity> = BTreeMap::new();
        let mut silenced = [0_u64; 2];
        let mut read = Read::new();
        for (second, act) in (0..).zip(acts) {
            let readings = match act {
                Act::Read(readings) => readings,
                Act::Silence(subject, seconds) => {
                    silenced[subject] = second + seconds;
                    let until = now(second + seconds).time;
                    let subject = Some(SUBJECTS[subject].to_owned());
                    book.silence(Silence { kind: KIND, subject, until }).unwrap();
                    continue;
                }
                Act::Unsilence(subject) => {
                    silenced[subject] = 0;
                    book.unsilence(KIND, Some(SUBJECTS[subject]));
                    continue;
                }
                Act::Restart => {
                    book = AlertBook::of(book.kept());
                    continue;
                }
            };
            let mut findings = Vec::new();
            for (subject, reading) in SUBJECTS.iter().zip(readings) {
                let key = (KIND, (*subject).to_owned());
                read.entry(key).or_default().push((second, reading.clone()));
                findings.push(finding(subject, reading));
            }
            for notice in book.step(findings, CALM, now(second)) {
                let alert = status(&notice).clone();
                let key = (alert.kind, alert.subject.clone());
                let place = SUBJECTS.iter().position(|it| *it == alert.subject).unwrap();
                match notice {
                    Notice::Raised(_) => {
                        // Not while it is silenced, and not the same twice.
                        prop_assert!(silenced[place] <= second);
                        prop_assert_eq!(alert.silenced_until, None);
                        prop_assert_ne!(told.insert(key.clone(), alert.severity), Some(alert.severity));
                        // Its cause has lasted.
                        prop_assert!(now(second).time >= alert.since + AFTER);
                    }
                    Notice::Resolved(_) => {
                        prop_assert!(told.remove(&key).is_some());
                        let last = last_raised(&read[&key]).unwrap();
                        prop_assert!(second - last > CALM.as_secs());
                    }
                }
            }
            // What is told is what lasts, but for what is silenced.
            let alerts = book.alerts(now(second).time);
            for alert in &alerts {
                let key = (alert.kind, alert.subject.clone());
                if alert.silenced_until.is_none() {
                    prop_assert_eq!(told.get(&key), Some(&alert.severity));
                }
            }
            for (kind, subject) in told.keys() {
                prop_assert!(alerts.iter().any(|it| it.kind == *kind && it.subject == *subject));
            }
        }
    }
}

#[test]
fn a_monitor_of_drift_has_one_reading_and_further_monitors_are_left_out() {
    let status = PublishedStatus::default();
    status.drift("scores", Some((CRITICAL, "it drifts".to_owned())));
    status.drift("scores", None);
    assert_eq!(
        status.drifts(),
        BTreeMap::from([("scores".to_owned(), None)])
    );
    for number in 0..100 {
        status.drift(&number.to_string(), None);
    }
    assert_eq!(status.drifts().len(), 32);
    // A known one still says what it finds.
    status.drift("scores", Some((WARNING, "a little".to_owned())));
    assert!(status.drifts()["scores"].is_some());
    status.forget_drift();
    assert!(status.drifts().is_empty());
}
