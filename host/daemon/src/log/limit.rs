//! How many lines of a kind there may be. What is left out is counted, and said.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hotshoe_config::LogConfig;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};

use super::{TARGET, count_left_out};

/// The target of what components write, which has a limit of its own for each component.
const COMPONENT: &str = "component";
/// Seconds' worth of lines that may come at once.
const BURST_S: f64 = 4.0;
/// Lines of all kinds together, for each line that one kind may have. Errors have as many of their own.
const KINDS: f64 = 40.0;
/// Kinds that are told apart.
const MAX_KINDS: usize = 4_096;
/// A kind of which nothing was left out for so long is spoken of.
const QUIET: Duration = Duration::from_secs(1);
/// A kind of which lines are left out again and again is spoken of so often.
const EVERY: Duration = Duration::from_secs(10);
/// Kinds that are spoken of at once; the others are summed up.
const MAX_REPORTED: usize = 20;
/// Longest part of a line that is repeated, in bytes.
const MAX_SHOWN: usize = 200;

/// Lines that were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// What the first of them began with; nothing for several kinds.
    pub line: String,
    /// How many.
    pub lines: u64,
    /// From the first to the last.
    pub time: Duration,
}

/// Decides line by line. Time is an argument, so that all of it follows from what it is told.
#[derive(Debug)]
pub struct Limit<K> {
    kinds: HashMap<K, Kind>,
    /// What was left out of kinds that had to be forgotten.
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
    /// Nothing until somebody asks what the line is.
    line: String,
    lines: u64,
    first: Instant,
    last: Instant,
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is written.
    Written,
    /// It is left out.
    LeftOut,
    /// It is left out, as the first of its kind: [`Limit::describe`] says what it is.
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
    /// How much it holds, in seconds of filling.
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

    /// Whether there is room for a line at this rate.
    fn has(&mut self, rate: f64, now: Instant) -> bool {
        self.fill(now);
        // A little less is rounding.
        self.level * rate >= 1.0 - 1e-6
    }

    fn take(&mut self, rate: f64) {
        self.level -= 1.0 / rate;
    }
}

impl<K: Hash + Eq + Clone> Limit<K> {
    /// Nothing was logged yet.
    pub fn new(now: Instant) -> Self {
        Self {
            kinds: HashMap::new(),
            forgotten: None,
            others: Bucket::full(now),
            errors: Bucket::full(now),
        }
    }

    /// Judges a line of `kind`, where each kind may have `rate` lines a second.
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
        if known.bucket.has(rate, now) && all.has(rate * KINDS, now) {
            known.bucket.take(rate);
            all.take(rate * KINDS);
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

    /// Says what the lines of `kind` are that are left out.
    pub fn describe(&mut self, kind: &K, line: String) {
        let left = self.kinds.get_mut(kind).and_then(|it| it.left_out.as_mut());
        if let Some(left) = left {
            left.line = line;
        }
    }

    /// Forgets kinds that nothing is known of any more than of a new one. Where there are none, one is forgotten all the same.
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

    /// Whether anything was left out that was not spoken of.
    pub fn has_unreported(&self) -> bool {
        self.forgotten.is_some() || self.kinds.values().any(|known| known.left_out.is_some())
    }

    /// What was left out, and is to be spoken of now; `everything`, however short ago it was. The largest numbers come first.
    pub fn due(&mut self, everything: bool, now: Instant) -> Vec<LeftOut> {
        let is_due = |left: &mut LeftOutLines| {
            everything
                || now.saturating_duration_since(left.last) >= QUIET
                || now.saturating_duration_since(left.first) >= EVERY
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

/// What makes a line one of a kind: where in the program it comes from; of errors, what it says too; of those of the `log` crate, which
/// all come from one place, whom they come from.
type Key = (tracing::callsite::Identifier, u64);

/// The limit of a process, as a filter of its lines.
pub struct Limiter {
    limit: Mutex<Limit<Key>>,
    rate: AtomicU32,
    has_unreported: AtomicBool,
    first: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Limiter {
    /// At the default rate.
    pub fn new() -> Self {
        Self {
            limit: Mutex::new(Limit::new(Instant::now())),
            rate: AtomicU32::new(LogConfig::default().lines_per_second),
            has_unreported: AtomicBool::new(false),
            first: OnceLock::new(),
        }
    }

    /// From now on each kind may have so many lines a second.
    pub fn set_rate(&self, lines_per_second: u32) {
        self.rate.store(lines_per_second, Ordering::Relaxed);
    }

    /// Calls `wake` when something is left out and nothing was before.
    pub(super) fn on_first(&self, wake: impl Fn() + Send + Sync + 'static) {
        // There is one queue for a limiter.
        let _ = self.first.set(Box::new(wake));
    }

    /// Whether something was left out that was not spoken of.
    pub(super) fn has_unreported(&self) -> bool {
        self.has_unreported.load(Ordering::Acquire)
    }

    /// Logs what was left out, if it is time; `everything`, however short ago it was.
    pub(super) fn report(&self, everything: bool) {
        let mut limit = self.lock();
        let due = limit.due(everything, Instant::now());
        self.has_unreported.store(limit.has_unreported(), Ordering::Release);
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
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
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
            // Without the lock: what is shown may log itself.
            let line = shown(event);
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

/// The filter of a layer. What it refuses is counted as left out, so it comes after whatever decides by level.
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
        // Without one, the other filter's would count for nothing, and every line of every library be looked at.
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.0.admits(event)
    }
}

/// What tells lines of one place apart: 0 where nothing does.
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
        // Those of the `log` crate: whom a record comes from.
        if self.everything || matches!(field.name(), "log.target" | "log.line") {
            field.name().hash(&mut self.hasher);
            // Writing to a hasher does not fail, and what fails to be shown is told apart by what it has shown.
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

/// What a line begins with: whom it comes from, and its message.
fn shown(event: &Event<'_>) -> String {
    let mut shown = Shown(format!("{}: ", event.metadata().target()));
    event.record(&mut shown);
    let end = shown.0.floor_char_boundary(MAX_SHOWN);
    shown.0.truncate(end);
    shown.0
}

struct Shown(String);

impl Visit for Shown {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests;
