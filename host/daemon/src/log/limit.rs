//! The rate limit per kind of line. Lines beyond it are left out, counted and reported.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hotshoe_config::LogConfig;
use parking_lot::{Mutex, MutexGuard};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};

use super::{TARGET, count_left_out};

/// The target of components' lines, which have a limit per component.
const COMPONENT: &str = "component";
/// Capacity of the token buckets, in seconds.
const BURST_S: f64 = 4.0;
/// Limit of all kinds together, as a multiple of the limit of one kind. Errors have a separate limit of the same size.
const ALL_KINDS_FACTOR: f64 = 40.0;
/// Most kinds that are tracked.
const MAX_KINDS: usize = 4_096;
/// Left-out lines of a kind are reported after this time without another one.
const REPORT_AFTER: Duration = Duration::from_secs(1);
/// If lines of a kind are left out continuously, they are reported at this interval.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// Most kinds in one report; the others are summed up.
const MAX_REPORTED: usize = 20;
/// Longest excerpt of a line in a report, in bytes.
const MAX_SHOWN: usize = 200;

/// A report about lines that were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The beginning of the first one; empty for several kinds.
    pub line: String,
    /// How many lines.
    pub lines: u64,
    /// Time from the first to the last.
    pub time: Duration,
}

/// The limit, line by line. Pure: the time is an argument.
#[derive(Debug)]
pub struct Limit<K> {
    kinds: HashMap<K, Kind>,
    /// Lines of kinds that are no longer tracked.
    forgotten: Option<LeftOutLines>,
    others: Bucket,
    errors: Bucket,
}

#[derive(Debug)]
struct Kind {
    bucket: Bucket,
    left_out: Option<LeftOutLines>,
}

#[derive(Debug)]
struct LeftOutLines {
    /// Empty until [`Limit::describe`].
    line: String,
    lines: u64,
    first: Instant,
    last: Instant,
}

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is written.
    Written,
    /// It is left out.
    LeftOut,
    /// It is the first of its kind that is left out; pass its text to [`Limit::describe`].
    FirstLeftOut,
}

impl LeftOutLines {
    fn report(self) -> LeftOut {
        LeftOut {
            line: self.line,
            lines: self.lines,
            time: self.last.saturating_duration_since(self.first),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Level in seconds.
    level: f64,
    filled: Instant,
}

impl Bucket {
    const fn full(now: Instant) -> Self {
        Self {
            level: BURST_S,
            filled: now,
        }
    }

    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.level = (self.level + since).min(BURST_S);
        self.filled = self.filled.max(now);
    }

    /// Whether a line is allowed at this rate.
    fn has(&mut self, rate: f64, now: Instant) -> bool {
        self.fill(now);
        // With a tolerance for rounding.
        self.level * rate >= 1.0 - 1e-6
    }

    fn take(&mut self, rate: f64) {
        self.level -= 1.0 / rate;
    }
}

impl<K: Hash + Eq + Clone> Limit<K> {
    /// A new limit with full buckets.
    pub fn new(now: Instant) -> Self {
        Self {
            kinds: HashMap::new(),
            forgotten: None,
            others: Bucket::full(now),
            errors: Bucket::full(now),
        }
    }

    /// Counts a line of `kind`, at `rate` lines per second and kind.
    pub fn judge(&mut self, kind: &K, error: bool, rate: u32, now: Instant) -> Verdict {
        let rate = f64::from(rate.max(1));
        self.make_room(kind, now);
        let all = if error {
            &mut self.errors
        } else {
            &mut self.others
        };
        let known = self.kinds.entry(kind.clone()).or_insert_with(|| Kind {
            bucket: Bucket::full(now),
            left_out: None,
        });
        if known.bucket.has(rate, now) && all.has(rate * ALL_KINDS_FACTOR, now) {
            known.bucket.take(rate);
            all.take(rate * ALL_KINDS_FACTOR);
            return Verdict::Written;
        }
        let left = known.left_out.get_or_insert_with(|| LeftOutLines {
            line: String::new(),
            lines: 0,
            first: now,
            last: now,
        });
        left.lines += 1;
        left.last = now;
        if left.lines == 1 {
            Verdict::FirstLeftOut
        } else {
            Verdict::LeftOut
        }
    }

    /// Sets the text for the report about `kind`.
    pub fn describe(&mut self, kind: &K, line: String) {
        let left = self.kinds.get_mut(kind).and_then(|it| it.left_out.as_mut());
        if let Some(left) = left {
            left.line = line;
        }
    }

    /// Removes kinds whose state equals that of a new one. If there are none, removes any other kind.
    fn make_room(&mut self, kind: &K, now: Instant) {
        if self.kinds.len() < MAX_KINDS || self.kinds.contains_key(kind) {
            return;
        }
        self.kinds.retain(|_, known| {
            known.bucket.fill(now);
            known.left_out.is_some() || known.bucket.level < BURST_S
        });
        if self.kinds.len() < MAX_KINDS {
            return;
        }
        let silent = self.kinds.iter().find(|(_, it)| it.left_out.is_none());
        let any = silent.or_else(|| self.kinds.iter().next());
        let gone = any.map(|(kind, _)| kind.clone());
        let left = gone
            .and_then(|kind| self.kinds.remove(&kind))
            .and_then(|known| known.left_out);
        if let Some(left) = left {
            match &mut self.forgotten {
                Some(forgotten) => {
                    forgotten.lines += left.lines;
                    forgotten.last = forgotten.last.max(left.last);
                }
                None => {
                    self.forgotten = Some(LeftOutLines {
                        line: String::new(),
                        ..left
                    });
                }
            }
        }
    }

    /// Whether left-out lines are not reported yet.
    pub fn has_unreported(&self) -> bool {
        self.forgotten.is_some() || self.kinds.values().any(|known| known.left_out.is_some())
    }

    /// The reports that are due, or all with `everything`. The largest numbers come first.
    pub fn due(&mut self, everything: bool, now: Instant) -> Vec<LeftOut> {
        let is_due = |left: &mut LeftOutLines| {
            everything
                || now.saturating_duration_since(left.last) >= REPORT_AFTER
                || now.saturating_duration_since(left.first) >= REPORT_EVERY
        };
        let kinds = self.kinds.values_mut().map(|known| &mut known.left_out);
        let mut due: Vec<LeftOut> = kinds
            .filter_map(|left| left.take_if(is_due))
            .map(LeftOutLines::report)
            .collect();
        due.sort_by(|a, b| b.lines.cmp(&a.lines).then_with(|| a.line.cmp(&b.line)));
        let mut rest = due.split_off(due.len().min(MAX_REPORTED));
        rest.extend(self.forgotten.take_if(is_due).map(LeftOutLines::report));
        if !rest.is_empty() {
            due.push(LeftOut {
                line: String::new(),
                lines: rest.iter().map(|it| it.lines).sum(),
                time: rest.iter().map(|it| it.time).max().unwrap_or_default(),
            });
        }
        due
    }
}

/// The kind of a line: its call site; for errors, also its content; for lines of the `log` crate, which share one call site, also their
/// origin.
type Key = (tracing::callsite::Identifier, u64);

/// The limit of a process.
pub struct Limiter {
    limit: Mutex<Limit<Key>>,
    rate: AtomicU32,
    has_unreported: AtomicBool,
    first: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Limiter {
    /// A limiter with the default rate.
    pub fn new() -> Self {
        Self {
            limit: Mutex::new(Limit::new(Instant::now())),
            rate: AtomicU32::new(LogConfig::default().lines_per_second),
            has_unreported: AtomicBool::new(false),
            first: OnceLock::new(),
        }
    }

    /// Changes the rate.
    pub fn set_rate(&self, lines_per_second: u32) {
        self.rate.store(lines_per_second, Ordering::Relaxed);
    }

    /// Calls `wake` when a line is left out and none was waiting for a report.
    pub(super) fn on_first(&self, wake: impl Fn() + Send + Sync + 'static) {
        // A limiter has one queue.
        let _ = self.first.set(Box::new(wake));
    }

    /// Whether left-out lines are not reported yet.
    pub(super) fn has_unreported(&self) -> bool {
        self.has_unreported.load(Ordering::Acquire)
    }

    /// Logs the reports that are due, or all with `everything`.
    pub(super) fn report(&self, everything: bool) {
        let mut limit = self.lock();
        let due = limit.due(everything, Instant::now());
        self.has_unreported
            .store(limit.has_unreported(), Ordering::Release);
        drop(limit);
        for LeftOut { line, lines, time } in due {
            let seconds = time.as_secs_f64().ceil();
            if line.is_empty() {
                tracing::warn!(target: TARGET, left_out = lines, seconds, "log lines of other kinds were left out");
            } else {
                tracing::warn!(target: TARGET, left_out = lines, seconds, like = line, "lines like this were left out; `[log] lines-per-second` allows more");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Limit<Key>> {
        self.limit.lock()
    }

    fn admits(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        if matches!(metadata.target(), TARGET | COMPONENT) {
            return true;
        }
        let error = *metadata.level() == Level::ERROR;
        let key = (metadata.callsite(), content(event, error));
        let rate = self.rate.load(Ordering::Relaxed);
        let verdict = self.lock().judge(&key, error, rate, Instant::now());
        if verdict == Verdict::Written {
            return true;
        }
        if verdict == Verdict::FirstLeftOut {
            // Without the lock: formatting a value may log.
            let line = line_start(event);
            self.lock().describe(&key, line);
        }
        count_left_out();
        if !self.has_unreported.swap(true, Ordering::AcqRel)
            && let Some(wake) = self.first.get()
        {
            wake();
        }
        false
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

/// The limiter as a filter of a layer. It counts the lines that it refuses, so filters by level must come before it.
#[derive(Clone)]
pub struct Limited(pub std::sync::Arc<Limiter>);

impl<S: Subscriber> Filter<S> for Limited {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::always()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Without a hint, the other filter's hint would be ignored, and every line of every library would be checked.
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.0.admits(event)
    }
}

/// A hash of the content that tells lines of one call site apart; 0 if there is none.
fn content(event: &Event<'_>, error: bool) -> u64 {
    let from_log = event.metadata().target() == "log";
    if !error && !from_log {
        return 0;
    }
    let mut visitor = Content {
        hasher: DefaultHasher::new(),
        everything: error,
    };
    event.record(&mut visitor);
    visitor.hasher.finish()
}

struct Content {
    hasher: DefaultHasher,
    everything: bool,
}

impl Visit for Content {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // The fields of the `log` crate with the origin of a record.
        if self.everything || matches!(field.name(), "log.target" | "log.line") {
            field.name().hash(&mut self.hasher);
            // Writing to a hasher cannot fail; if formatting fails, the part until then counts.
            let _ = write!(Hashed(&mut self.hasher), "{value:?}");
        }
    }
}

struct Hashed<'a>(&'a mut DefaultHasher);

impl fmt::Write for Hashed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// The beginning of a line: its target and message.
fn line_start(event: &Event<'_>) -> String {
    let mut shown = LineStart(format!("{}: ", event.metadata().target()));
    event.record(&mut shown);
    let end = shown.0.floor_char_boundary(MAX_SHOWN);
    shown.0.truncate(end);
    shown.0
}

struct LineStart(String);

impl Visit for LineStart {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests;
