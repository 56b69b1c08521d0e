//! Single values of a tree. What cannot be read, or has another format, becomes a fault with its path.

use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::fault_kind::FaultKind;
use crate::reading::SensorFault;
use crate::tree::{Kind, Tree, is_label};

/// A tree, and the faults that were found in it.
pub(super) struct Fields<'a> {
    tree: &'a Tree,
    faults: Vec<SensorFault>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(tree: &'a Tree) -> Self {
        let faults = tree.faults();
        let fault = |(path, kind): (&str, FaultKind)| SensorFault {
            path: path.to_owned(),
            kind,
        };
        Self {
            tree,
            faults: faults.map(fault).collect(),
        }
    }

    /// The faults, by path.
    pub(super) fn into_faults(mut self) -> Vec<SensorFault> {
        self.faults.sort_unstable();
        self.faults.dedup();
        self.faults
    }

    pub(super) fn sensors(&self, kind: &Kind) -> Vec<&'a str> {
        self.tree.sensors(kind)
    }

    /// A text without the white space around it.
    pub(super) fn text(&mut self, path: &str) -> Option<&'a str> {
        let text = std::str::from_utf8(self.tree.file(path)?).ok();
        if text.is_none() {
            self.fault(path);
        }
        text.map(str::trim)
    }

    /// What `read` makes of a text; `None` of `read` is invalid.
    pub(super) fn parsed<T>(
        &mut self,
        path: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(path)?;
        let value = read(text);
        if value.is_none() {
            self.fault(path);
        }
        value
    }

    /// A number in a range.
    pub(super) fn number<T: FromStr + PartialOrd>(
        &mut self,
        path: &str,
        range: &RangeInclusive<T>,
    ) -> Option<T> {
        self.parsed(path, |text| {
            let number = text.parse().ok()?;
            range.contains(&number).then_some(number)
        })
    }

    /// A name that a driver gives. Some give none.
    pub(super) fn label(&mut self, path: &str) -> Option<String> {
        let label = self.parsed(path, |text| {
            (text.is_empty() || is_label(text)).then(|| text.to_owned())
        });
        label.filter(|label| !label.is_empty())
    }

    fn fault(&mut self, path: &str) {
        self.faults.push(SensorFault {
            path: path.to_owned(),
            kind: FaultKind::Invalid,
        });
    }
}
