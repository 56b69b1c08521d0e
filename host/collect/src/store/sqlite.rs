//! A store in SQLite: the tables `records` and `losses`. A transaction for each batch, with `synchronous=FULL`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hotshoe_outbox::Ranges;
use rusqlite::{Connection, ErrorCode, Transaction, params};

use super::{Conflict, Outcome, StoreError};
use crate::batch::{ReceivedBatch, ReceivedItem, ReceivedLoss, ReceivedRecord};

/// How long a reader of the database may hold a batch up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS records (
    instance TEXT NOT NULL, source TEXT NOT NULL, sequence INTEGER NOT NULL, epoch INTEGER NOT NULL, digest TEXT NOT NULL,
    site TEXT NOT NULL, device TEXT NOT NULL, class TEXT NOT NULL, priority TEXT NOT NULL, wall_ms INTEGER NOT NULL,
    conflict INTEGER NOT NULL, payload BLOB NOT NULL,
    PRIMARY KEY (instance, source, sequence, epoch, digest)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS losses (
    instance TEXT NOT NULL, source TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, epoch INTEGER NOT NULL,
    cause TEXT NOT NULL, site TEXT NOT NULL, device TEXT NOT NULL, count INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (instance, source, first, last, epoch, cause)
) WITHOUT ROWID;
";

/// A file of SQLite.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    connection: Connection,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = failed(path);
        let connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        // The log of a commit is synced before it is acknowledged. Only one process writes.
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .and_then(|()| connection.pragma_update(None, "synchronous", "FULL"))
            .and_then(|()| connection.execute_batch(TABLES))
            .map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            connection,
        })
    }

    pub(super) fn put(&mut self, batch: &ReceivedBatch) -> Result<Outcome, StoreError> {
        let stored = self.connection.transaction().and_then(|transaction| {
            let mut outcome = Outcome::default();
            for item in &batch.items {
                match item {
                    ReceivedItem::Record(record) => {
                        add_record(&transaction, batch, record, &mut outcome)?;
                    }
                    ReceivedItem::Loss(loss) => {
                        add_loss(&transaction, batch, loss, &mut outcome)?;
                    }
                }
            }
            transaction.commit()?;
            Ok(outcome)
        });
        stored.map_err(failed(&self.path))
    }
}

fn failed(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError + Copy {
    move |source| {
        let path = path.to_owned();
        let is_busy = matches!(
            source.sqlite_error_code(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        );
        match is_busy {
            true => StoreError::Busy { path },
            false => StoreError::Sqlite { path, source },
        }
    }
}

/// SQLite's integers have a sign; a batch has no greater ones.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn add_record(
    transaction: &Transaction<'_>,
    batch: &ReceivedBatch,
    record: &ReceivedRecord,
    outcome: &mut Outcome,
) -> rusqlite::Result<()> {
    let key = params![
        batch.instance,
        record.source,
        signed(record.sequence),
        record.epoch
    ];
    let digest = record.digest.hex();
    let mut others = transaction.prepare_cached(
        "SELECT digest FROM records WHERE instance = ?1 AND source = ?2 AND sequence = ?3 AND epoch = ?4",
    )?;
    let others: Vec<String> = others
        .query_map(key, |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if others.contains(&digest) {
        outcome.duplicates += 1;
        return Ok(());
    }
    let conflict = !others.is_empty();
    let mut insert = transaction.prepare_cached(
        "INSERT INTO records (instance, source, sequence, epoch, digest, site, device, class, priority, wall_ms, conflict, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    insert.execute(params![
        batch.instance,
        record.source,
        signed(record.sequence),
        record.epoch,
        digest,
        batch.site,
        batch.device,
        record.class,
        record.priority,
        signed(record.wall_ms),
        conflict,
        record.payload,
    ])?;
    outcome.stored += 1;
    if conflict {
        outcome.conflicts.push(Conflict::of(batch, record));
    }
    Ok(())
}

fn add_loss(
    transaction: &Transaction<'_>,
    batch: &ReceivedBatch,
    loss: &ReceivedLoss,
    outcome: &mut Outcome,
) -> rusqlite::Result<()> {
    let (from, to) = (signed(loss.from), signed(loss.to));
    let range = params![batch.instance, loss.source, from, to];
    let numbers = |row: &rusqlite::Row<'_>| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)));
    let mut lost = transaction.prepare_cached(
        "SELECT first, last FROM losses WHERE instance = ?1 AND source = ?2 AND first <= ?4 AND last >= ?3",
    )?;
    let lost: Ranges = lost
        .query_map(range, numbers)?
        .collect::<rusqlite::Result<_>>()?;
    let mut stored = transaction.prepare_cached(
        "SELECT sequence, sequence FROM records WHERE instance = ?1 AND source = ?2 AND sequence BETWEEN ?3 AND ?4",
    )?;
    let stored: Ranges = stored
        .query_map(range, numbers)?
        .collect::<rusqlite::Result<_>>()?;
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO losses (instance, source, first, last, epoch, cause, site, device, count, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let added = insert.execute(params![
        batch.instance,
        loss.source,
        from,
        to,
        loss.epoch,
        loss.cause,
        batch.site,
        batch.device,
        signed(loss.count),
        signed(loss.bytes),
    ])?;
    if added > 0 {
        outcome.add_loss(loss, &stored, &lost);
    }
    Ok(())
}
