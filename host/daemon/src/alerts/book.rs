//! Which alerts last, and what is told of them. Pure: the time comes with each step.
//!
//! A cause must last before its alert is raised, and be away for a time before the alert has ended. There is one alert of a kind and a
//! subject, and it is told once for each severity. While it is silenced, it is kept and not told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hotshoe_protocol::alert::{
    AlertKind, AlertSeverity, AlertStatus, MAX_ALERTS, MAX_SILENCES, Silence,
};
use hotshoe_trust::Time;
use serde::{Deserialize, Serialize};

/// What an alert is about.
pub type Key = (AlertKind, String);

/// What is known of a cause now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Nothing: an alert that lasts goes on, and none is raised.
    Unknown,
    /// It is not there.
    Clear,
    /// It is there.
    Raised {
        /// How serious it is.
        severity: AlertSeverity,
        /// What was measured, for people.
        text: String,
    },
}

/// A reading, and how long it must last before the alert is raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub key: Key,
    /// What is known.
    pub reading: Reading,
    /// How long the cause must last.
    pub after: Duration,
}

/// The time of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed moment; it never goes back.
    pub at: Duration,
    /// By the device's clock.
    pub time: Time,
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An alert is raised, or has another severity than was told.
    Raised(AlertStatus),
    /// An alert that was told has ended.
    Resolved(AlertStatus),
}

/// What is kept of an alert over a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAlert {
    /// What it is about.
    pub kind: AlertKind,
    /// What of the device it is about.
    pub subject: String,
    /// How serious it is.
    pub severity: AlertSeverity,
    /// Since when it lasts.
    pub since: Time,
    /// The severity that was told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<AlertSeverity>,
}

/// What is kept over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The alerts that last.
    pub alerts: Vec<KeptAlert>,
    /// The silences that have not ended.
    pub silences: Vec<Silence>,
}

/// There is no room for another silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManySilences;

#[derive(Debug)]
struct Lasting {
    severity: AlertSeverity,
    text: String,
    since: Time,
    count: u64,
    told: Option<AlertSeverity>,
    /// Since when its cause is away.
    clear_since: Option<Duration>,
    /// Since when it is less serious than its severity, and how serious it was at most since then.
    lower: Option<(Duration, Option<AlertSeverity>)>,
}

/// The alerts and silences of a device.
#[derive(Debug, Default)]
pub struct AlertBook {
    lasting: BTreeMap<Key, Lasting>,
    /// Causes that have not lasted long enough, and since when they do.
    pending: BTreeMap<Key, Now>,
    silences: Vec<Silence>,
    left_out: u64,
}

impl AlertBook {
    /// Goes on with what was kept.
    pub fn of(kept: Kept) -> Self {
        let alerts = kept.alerts.into_iter().take(MAX_ALERTS);
        let lasting = alerts.map(|alert| {
            let lasting = Lasting {
                severity: alert.severity,
                text: "as it was before the restart".to_owned(),
                since: alert.since,
                count: 1,
                told: alert.told,
                clear_since: None,
                lower: None,
            };
            ((alert.kind, alert.subject), lasting)
        });
        Self {
            lasting: lasting.collect(),
            silences: kept.silences.into_iter().take(MAX_SILENCES).collect(),
            ..Self::default()
        }
    }

    /// What is to be kept.
    pub fn kept(&self) -> Kept {
        let alerts = self.lasting.iter().map(|((kind, subject), it)| KeptAlert {
            kind: *kind,
            subject: subject.clone(),
            severity: it.severity,
            since: it.since,
            told: it.told,
        });
        Kept {
            alerts: alerts.collect(),
            silences: self.silences.clone(),
        }
    }

    /// How serious an alert is that lasts.
    pub fn severity(&self, kind: AlertKind, subject: &str) -> Option<AlertSeverity> {
        let alert = self.lasting.get(&(kind, subject.to_owned()));
        alert.map(|it| it.severity)
    }

    /// The alerts that last, the most serious first.
    pub fn alerts(&self, time: Time) -> Vec<AlertStatus> {
        let all = self.lasting.iter();
        let mut all: Vec<_> = all.map(|(key, it)| self.status(key, it, time)).collect();
        all.sort_by_key(|it| std::cmp::Reverse(it.severity));
        all
    }

    /// The silences that have not ended.
    pub fn silences(&self) -> &[Silence] {
        &self.silences
    }

    /// Alerts that were not raised because [`MAX_ALERTS`] others last.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Silences alerts until a time, in place of an earlier silence of the same ones.
    ///
    /// # Errors
    /// [`TooManySilences`]
    pub fn silence(&mut self, silence: Silence) -> Result<(), TooManySilences> {
        let is_other = |it: &Silence| (it.kind, &it.subject) != (silence.kind, &silence.subject);
        if self.silences.iter().filter(|it| is_other(it)).count() >= MAX_SILENCES {
            return Err(TooManySilences);
        }
        self.silences.retain(is_other);
        self.silences.push(silence);
        Ok(())
    }

    /// Ends the silences of a kind: that of a subject, or all. Returns how many there were.
    pub fn unsilence(&mut self, kind: AlertKind, subject: Option<&str>) -> usize {
        let before = self.silences.len();
        self.silences.retain(|it| {
            let is_meant = subject.is_none() || it.subject.as_deref() == subject;
            it.kind != kind || !is_meant
        });
        before - self.silences.len()
    }

    /// Takes the findings of a moment. A subject without a finding is gone, so its cause is away. Returns what is to be told.
    pub fn step(&mut self, findings: Vec<Finding>, calm: Duration, now: Now) -> Vec<Notice> {
        self.silences.retain(|it| it.until > now.time);
        let mut found = BTreeSet::new();
        for Finding {
            key,
            reading,
            after,
        } in findings
        {
            found.insert(key.clone());
            self.take(key, reading, after, now);
        }
        self.pending.retain(|key, _| found.contains(key));
        for (_, gone) in self
            .lasting
            .iter_mut()
            .filter(|(key, _)| !found.contains(*key))
        {
            gone.clear(now.at);
        }
        let mut notices = self.end(calm, now);
        notices.extend(self.tell(now.time));
        notices
    }

    fn take(&mut self, key: Key, reading: Reading, after: Duration, now: Now) {
        if let Some(lasting) = self.lasting.get_mut(&key) {
            match reading {
                Reading::Unknown => {}
                Reading::Clear => lasting.clear(now.at),
                Reading::Raised { severity, text } => lasting.raise(severity, text, now.at),
            }
            return;
        }
        let Reading::Raised { severity, text } = reading else {
            self.pending.remove(&key);
            return;
        };
        let begun = *self.pending.entry(key.clone()).or_insert(now);
        if now.at.saturating_sub(begun.at) < after {
            return;
        }
        if self.lasting.len() >= MAX_ALERTS {
            self.left_out += 1;
            return;
        }
        self.pending.remove(&key);
        let lasting = Lasting {
            severity,
            text,
            since: begun.time,
            count: 1,
            told: None,
            clear_since: None,
            lower: None,
        };
        self.lasting.insert(key, lasting);
    }

    /// Ends alerts whose cause has been away for long enough, and lowers those that have been less serious for as long.
    fn end(&mut self, calm: Duration, now: Now) -> Vec<Notice> {
        let has_passed = |since: Duration| now.at.saturating_sub(since) >= calm;
        let ended = self.lasting.iter();
        let ended: Vec<Key> = ended
            .filter(|(_, it)| it.clear_since.is_some_and(has_passed))
            .map(|(key, _)| key.clone())
            .collect();
        let mut notices = Vec::new();
        for key in ended {
            if let Some(lasting) = self.lasting.remove(&key)
                && lasting.told.is_some()
            {
                notices.push(Notice::Resolved(self.status(&key, &lasting, now.time)));
            }
        }
        for lasting in self.lasting.values_mut() {
            if let Some((since, Some(most))) = lasting.lower
                && has_passed(since)
            {
                lasting.severity = most;
                lasting.lower = lasting.clear_since.map(|since| (since, None));
            }
        }
        notices
    }

    fn tell(&mut self, time: Time) -> Vec<Notice> {
        let silences = &self.silences;
        let mut told = Vec::new();
        for (key, lasting) in &mut self.lasting {
            let (kind, subject) = key;
            let is_silenced = silences.iter().any(|it| it.covers(*kind, subject));
            if !is_silenced && lasting.told != Some(lasting.severity) {
                lasting.told = Some(lasting.severity);
                told.push(key.clone());
            }
        }
        let statuses = told.iter().filter_map(|key| {
            let lasting = self.lasting.get(key)?;
            Some(self.status(key, lasting, time))
        });
        statuses.map(Notice::Raised).collect()
    }

    fn status(&self, (kind, subject): &Key, lasting: &Lasting, time: Time) -> AlertStatus {
        let silences = self.silences.iter();
        let silenced = silences.filter(|it| it.covers(*kind, subject) && it.until > time);
        AlertStatus {
            kind: *kind,
            subject: subject.clone(),
            severity: lasting.severity,
            text: lasting.text.clone(),
            since: lasting.since,
            count: lasting.count,
            silenced_until: silenced.map(|it| it.until).max(),
        }
    }
}

impl Lasting {
    fn clear(&mut self, at: Duration) {
        self.clear_since.get_or_insert(at);
        self.lower.get_or_insert((at, None));
    }

    fn raise(&mut self, severity: AlertSeverity, text: String, at: Duration) {
        if self.clear_since.take().is_some() {
            self.count += 1;
        }
        self.text = text;
        if severity >= self.severity {
            self.severity = severity;
            self.lower = None;
        } else {
            let (_, most) = self.lower.get_or_insert((at, None));
            *most = (*most).max(Some(severity));
        }
    }
}
