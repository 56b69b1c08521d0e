//! The state of a shared value, and how two states merge.

use serde::{Deserialize, Serialize};

use crate::append::AppendList;
use crate::clock::HybridTime;
use crate::definition::{Definition, Rule};
use crate::entry::{End, Entry, later};

/// The state of a `last-writer-wins` value: the latest write of all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Register {
    /// The latest write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Entry>,
}

/// The state of a `remote-wins` value. States are totally ordered, by the site's write, then by the device's; the greater one stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RemoteRegister {
    /// The latest write of the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Entry>,
    /// The latest write of the device since it saw that one. A later or concurrent write of the site removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Entry>,
}

/// The state of a shared value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharedValue {
    /// A list.
    Append(AppendList),
    /// The latest write.
    LastWriterWins(Register),
    /// The site's latest write, and a later one of the device.
    RemoteWins(RemoteRegister),
}

impl SharedValue {
    /// A value that nothing was written to.
    pub fn empty(rule: Rule) -> Self {
        match rule {
            Rule::Append => Self::Append(AppendList::default()),
            Rule::LastWriterWins => Self::LastWriterWins(Register::default()),
            Rule::RemoteWins => Self::RemoteWins(RemoteRegister::default()),
        }
    }

    /// Its rule.
    pub const fn rule(&self) -> Rule {
        match self {
            Self::Append(_) => Rule::Append,
            Self::LastWriterWins(_) => Rule::LastWriterWins,
            Self::RemoteWins(_) => Rule::RemoteWins,
        }
    }

    /// Merges another state. The result is the same for any order and number of merges. A state of another rule changes nothing.
    pub fn merge(&mut self, other: Self, limits: &Definition) {
        match (self, other) {
            (Self::Append(own), Self::Append(other)) => own.merge(other, limits),
            (Self::LastWriterWins(own), Self::LastWriterWins(other)) => {
                own.entry = later(own.entry.take(), other.entry);
            }
            (Self::RemoteWins(own), Self::RemoteWins(other)) => own.merge(other),
            _ => {}
        }
    }

    /// Adds a write, whose time is later than all in it.
    pub(crate) fn write(&mut self, entry: Entry, limits: &Definition) {
        match self {
            Self::Append(list) => list.push(entry, limits),
            Self::LastWriterWins(register) => {
                register.entry = later(register.entry.take(), Some(entry));
            }
            Self::RemoteWins(register) => match entry.by.end {
                End::Device => register.pending = later(register.pending.take(), Some(entry)),
                End::Site => register.merge(RemoteRegister {
                    site: Some(entry),
                    pending: None,
                }),
            },
        }
    }

    /// The entries in it.
    pub(crate) fn entries(&self) -> Vec<&Entry> {
        match self {
            Self::Append(list) => list.items().iter().collect(),
            Self::LastWriterWins(register) => register.entry.iter().collect(),
            Self::RemoteWins(register) => register.site.iter().chain(&register.pending).collect(),
        }
    }

    /// The entry that shows; of a list, the latest.
    pub(crate) fn shown(&self) -> Option<&Entry> {
        match self {
            Self::Append(list) => list.items().last(),
            Self::LastWriterWins(register) => register.entry.as_ref(),
            Self::RemoteWins(register) => register.pending.as_ref().or(register.site.as_ref()),
        }
    }

    /// Whether it is a state that replicas can have.
    pub(crate) fn is_valid(&self) -> bool {
        let ends_fit = match self {
            Self::Append(list) => list.is_valid(),
            Self::LastWriterWins(_) => true,
            Self::RemoteWins(RemoteRegister { site, pending }) => {
                let is_of = |entry: &Option<Entry>, end| {
                    entry.as_ref().is_none_or(|entry| entry.by.end == end)
                };
                is_of(site, End::Site) && is_of(pending, End::Device)
            }
        };
        ends_fit && self.entries().into_iter().all(Entry::is_valid)
    }

    /// The latest time in it.
    pub(crate) fn latest(&self) -> Option<HybridTime> {
        match self {
            Self::Append(list) => list.latest(),
            other => other.entries().into_iter().map(|entry| entry.at).max(),
        }
    }

    /// Removes what is beyond `horizon`, and returns it, oldest first.
    pub(crate) fn take_ahead(&mut self, horizon: HybridTime) -> Vec<Entry> {
        let is_ahead = |entry: &mut Entry| entry.at > horizon;
        match self {
            Self::Append(list) => list.take_ahead(horizon),
            Self::LastWriterWins(register) => {
                register.entry.take_if(is_ahead).into_iter().collect()
            }
            Self::RemoteWins(register) => {
                let site = register.site.take_if(is_ahead);
                let pending = register.pending.take_if(is_ahead);
                site.into_iter().chain(pending).collect()
            }
        }
    }
}

impl RemoteRegister {
    fn merge(&mut self, other: Self) {
        let key = |entry: &Option<Entry>| entry.as_ref().map(Entry::key);
        match key(&self.site).cmp(&key(&other.site)) {
            std::cmp::Ordering::Less => *self = other,
            std::cmp::Ordering::Equal => {
                self.pending = later(self.pending.take(), other.pending);
            }
            std::cmp::Ordering::Greater => {}
        }
    }
}
