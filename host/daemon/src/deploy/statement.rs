//! Reads statements and orders for this device. Pure but for the time, which is an argument.

use hotshoe_config::Config;
use hotshoe_store::Ledger;
use hotshoe_trust::{Device, Digest, Envelope, Statement, Time, TrustRoot, read_statement};

use crate::command::CommandError;

/// Key of the time of the last order in `statement_seen`. No release can have this name.
pub(super) const ORDERS: &str = "@orders";
/// Key of the time of the last cancelled statement.
pub(super) const CANCELLED: &str = "@cancelled";

/// A statement that was read and verified.
pub(super) struct ParsedStatement {
    /// The statement.
    pub statement: Statement,
    /// The trusted keys that signed it; none if it is unsigned.
    pub signers: Vec<String>,
    /// The digest of its envelope.
    pub digest: Digest,
}

/// Reads a statement, which must be for this site and this device.
pub(super) fn parse(
    bytes: &[u8],
    config: &Config,
    device: &Device,
    trust: &TrustRoot,
    ledger: &Ledger,
    now: Time,
) -> Result<ParsedStatement, CommandError> {
    let envelope = Envelope::parse(bytes).map_err(|e| refuse(e.name(), super::chain(&e)))?;
    let signatures = config.deploy.statements.signatures(trust);
    let floor = ledger.clock_floor;
    let statement = read_statement(&envelope, &config.site, signatures, floor, now)
        .map_err(|e| refuse(e.name(), super::chain(&e)))?;
    statement
        .devices
        .matches(device)
        .map_err(|reason| refuse("other_device", reason))?;
    Ok(ParsedStatement {
        digest: envelope.digest(),
        signers: statement.signers().to_vec(),
        statement: statement.into_inner(),
    })
}

/// The recorded times of the followed statements.
pub(super) fn followed(ledger: &Ledger) -> impl Iterator<Item = Time> {
    let releases = ledger.statement_seen.iter();
    releases
        .filter(|(name, _)| !name.starts_with('@'))
        .map(|(_, issued)| *issued)
}

/// A refusal of a statement or an order, with its stable name.
pub(super) fn refuse(name: &'static str, message: impl Into<String>) -> CommandError {
    CommandError::Order {
        name,
        message: message.into(),
    }
}
