#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use proptest::prelude::*;
use tracing_subscriber::layer::{Layer, SubscriberExt};

use super::*;

/// The default rate.
const RATE: u32 = 5;

fn judged(limit: &mut Limit<u32>, kind: u32, now: Instant) -> bool {
    limit.judge(&kind, false, RATE, now) == Verdict::Written
}

#[test]
fn a_flood_of_one_kind_leaves_the_others_their_room() {
    let start = Instant::now();
    let mut limit = Limit::new(start);
    // What a registry logged in 3 seconds: one line for each statement that was garbage.
    let step = Duration::from_secs(3) / 4_491;
    let mut written = 0;
    for number in 0..4_491 {
        written += u32::from(judged(&mut limit, 1, start + step * number));
    }
    assert_eq!(written, 34, "20 at once, and 5 a second");
    let now = start + Duration::from_secs(3);
    assert!(judged(&mut limit, 2, now));
    assert_eq!(limit.due(false, now), []);
    limit.describe(&1, "registry: refused".to_owned());
    let later = now + REPORT_AFTER;
    let said = limit.due(false, later);
    assert_eq!(said.len(), 1);
    assert_eq!(
        (said[0].line.as_str(), said[0].lines),
        ("registry: refused", 4_457)
    );
    assert_eq!(said[0].time.as_secs_f64().ceil(), 3.0);
    assert!(!limit.has_unreported());
    assert!(judged(&mut limit, 1, later));
}

#[test]
fn a_flood_of_all_kinds_leaves_errors_their_room() {
    let now = Instant::now();
    let mut limit = Limit::new(now);
    let written = (0..10_000)
        .filter(|kind| judged(&mut limit, *kind, now))
        .count();
    assert_eq!(written, 800, "4 seconds' worth of 40 kinds");
    assert_eq!(limit.judge(&10_000, true, RATE, now), Verdict::Written);
}

#[test]
fn a_flood_that_does_not_end_is_spoken_of_all_the_same() {
    let start = Instant::now();
    let mut limit = Limit::new(start);
    let mut said = 0;
    for tenths in 0..300 {
        let now = start + Duration::from_millis(tenths * 100);
        for _ in 0..10 {
            judged(&mut limit, 1, now);
        }
        said += limit.due(false, now).len();
    }
    assert_eq!(said, 2, "every 10 seconds");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Every line is written, or is one of those that are spoken of; whatever kinds there are, and however many.
    #[test]
    fn no_line_is_forgotten(
        lines in prop::collection::vec((0_u32..6_000, any::<bool>(), 0_u64..400), 1..800),
        rate in 1_u32..20,
    ) {
        let mut now = Instant::now();
        let mut limit = Limit::new(now);
        let (mut written, mut spoken) = (0_u64, 0_u64);
        let count = |said: Vec<LeftOut>| {
            assert!(said.len() <= MAX_REPORTED + 1);
            said.iter().map(|it| it.lines).sum::<u64>()
        };
        for (kind, error, pause) in &lines {
            now += Duration::from_millis(*pause);
            // Whether a line is an error follows from its kind.
            let error = *error && kind % 2 == 0;
            written += u64::from(limit.judge(kind, error, rate, now) == Verdict::Written);
            spoken += count(limit.due(false, now));
        }
        spoken += count(limit.due(true, now));
        prop_assert_eq!(written + spoken, lines.len() as u64);
        prop_assert!(!limit.has_unreported());
        prop_assert!(limit.kinds.len() <= MAX_KINDS);
    }

    /// No more than its burst and its rate.
    #[test]
    fn a_kind_has_its_rate(pauses in prop::collection::vec(0_u64..300, 1..500), rate in 1_u32..50) {
        let start = Instant::now();
        let mut now = start;
        let mut limit = Limit::new(now);
        let mut written = 0.0;
        for pause in pauses {
            now += Duration::from_millis(pause);
            if limit.judge(&1, false, rate, now) == Verdict::Written {
                written += 1.0;
            }
        }
        let most = f64::from(rate) * (BURST_S + (now - start).as_secs_f64());
        prop_assert!(written <= most + 1e-6, "{written} of at most {most}");
    }
}

/// Collects the lines that pass.
struct Counting(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Counting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = LineStart(String::new());
        event.record(&mut line);
        self.0.lock().push(line.0);
    }
}

/// A value that logs while it is formatted.
struct Chatty;

impl fmt::Display for Chatty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::debug!("a line about a line");
        f.write_str("chatty")
    }
}

#[test]
fn lines_are_limited_by_their_place_and_errors_by_what_they_say_too() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let limiter = Arc::new(Limiter::new());
    let layer = Counting(Arc::clone(&lines)).with_filter(Limited(Arc::clone(&limiter)));
    let subscriber = tracing_subscriber::registry().with(layer);
    let count = |text: &str| lines.lock().iter().filter(|it| it.contains(text)).count();
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..1_000 {
            tracing::warn!("garbage {number}");
            tracing::error!("the same error");
            tracing::error!("blob {} is damaged", number % 10);
            tracing::info!("{Chatty}");
        }
        for text in ["garbage", "the same error", "blob 3 is damaged"] {
            assert!(
                (20..1_000).contains(&count(text)),
                "{text}: {}",
                count(text)
            );
        }
        assert!(count("blob 3 is damaged") <= 100);
        assert!(limiter.has_unreported());
        limiter.report(true);
        assert!(!limiter.has_unreported());
    });
    let spoken = count("lines like this were left out");
    assert!(spoken >= 3, "{spoken}");
}
