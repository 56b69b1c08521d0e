//! What the outbox is compared with.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use rusqlite::{Connection, params};

/// Appends records that are durable when it returns.
pub(crate) trait Side {
    fn append(&mut self, payload: &[u8], count: usize) -> anyhow::Result<()>;
}

/// A file that is appended to and synced, with nothing else.
pub(super) struct Plain {
    file: File,
    buffer: Vec<u8>,
}

/// A table of SQLite, with one transaction for each batch.
pub(super) struct Sqlite(Connection);

impl Plain {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self {
            file: opened.with_context(|| format!("cannot create {}", path.display()))?,
            buffer: Vec::new(),
        })
    }
}

impl Side for Plain {
    fn append(&mut self, payload: &[u8], count: usize) -> anyhow::Result<()> {
        self.buffer.clear();
        for _ in 0..count {
            self.buffer.extend(payload);
        }
        self.file.write_all(&self.buffer)?;
        self.file.sync_data()?;
        Ok(())
    }
}

impl Sqlite {
    /// A database with this journal, each of whose commits is durable.
    pub(super) fn create(path: &Path, journal: &str) -> anyhow::Result<Self> {
        let connection = Connection::open(path).context("cannot open a database")?;
        connection.pragma_update(None, "journal_mode", journal)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE records (source TEXT NOT NULL, sequence INTEGER PRIMARY KEY, priority INTEGER NOT NULL,
             wall INTEGER NOT NULL, class TEXT NOT NULL, payload BLOB NOT NULL)",
        )?;
        Ok(Self(connection))
    }
}

impl Side for Sqlite {
    fn append(&mut self, payload: &[u8], count: usize) -> anyhow::Result<()> {
        let transaction = self.0.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO records (source, priority, wall, class, payload) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for _ in 0..count {
                insert.execute(params![
                    "camera",
                    2,
                    1_764_000_000_000_i64,
                    "insight",
                    payload
                ])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}
