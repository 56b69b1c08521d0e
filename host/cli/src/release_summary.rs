//! A release in two lines.

use hotshoe_release::terminal::Terminal;
use hotshoe_trust::{Digest, Release, Time};
use serde::Serialize;

/// A summary of a release.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    /// Its name.
    pub name: String,
    /// Its generation.
    pub generation: u64,
    /// The digest of its manifest.
    pub digest: Digest,
    /// When it was packed.
    pub issued: Time,
    /// When devices stop accepting it.
    pub expires: Time,
}

impl Summary {
    /// The summary of a release whose manifest has this digest.
    pub(crate) fn of(release: &Release, digest: Digest) -> Self {
        Self {
            name: release.name.clone(),
            generation: release.generation,
            digest,
            issued: release.issued,
            expires: release.expires,
        }
    }

    /// Prints two lines.
    pub(crate) fn print(&self, terminal: &Terminal) -> anyhow::Result<()> {
        let title = terminal.bold(&format!("{} generation {}", self.name, self.generation));
        terminal.print(format!(
            "{title}  {}",
            terminal.dim(&self.digest.to_string())
        ))?;
        terminal.print(format!("issued {}, expires {}", self.issued, self.expires))
    }
}
