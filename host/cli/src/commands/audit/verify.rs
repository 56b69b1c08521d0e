use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_audit::{Checked, Expected, FOLDER, Finding, Head, HeldHead, SignedHead};
use hotshoe_base::files::read_text;
use hotshoe_daemon::device_key::PUBLIC;
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use hotshoe_trust::{PublicKey, Scheme};
use serde::Serialize;
use serde_json::Value;

use super::{AuditCommandError, LogArgs};

/// Largest file of a key or a head, in bytes: 16 MiB, because a whole status has a head too.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Verify the audit log of this device
///
/// Finds changed, removed and reordered records, and signatures that are not the device's. An end that was cut off with all newer files is
/// only found against a head that another machine holds: give it with --head.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe status --config hotshoe.toml --json | jq '.[0].audit' > head.json   # keep it on another machine
  hotshoe audit verify --config hotshoe.toml --head head.json
  hotshoe audit verify --data copy-of-line-4 --key line-4.pub --json")]
pub(super) struct Args {
    #[command(flatten)]
    log: LogArgs,
    /// A head that the device published earlier: the `audit` of its status, the heads.json of a registry or of another device, or SEQUENCE:HASH
    #[arg(long, value_name = "FILE|SEQUENCE:HASH")]
    head: Option<String>,
    /// The device's public key; may be repeated if it was replaced [default: device.pub in the data folder]
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    records: u64,
    first: Option<u64>,
    head: Option<Head>,
    /// Whether signatures were verified: a key is known.
    key: bool,
    signatures: u64,
    signed_through: Option<u64>,
    /// The number of all findings.
    found: u64,
    findings: Vec<Found<'a>>,
}

#[derive(Serialize)]
struct Found<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    message: String,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let data = args.log.data()?;
    let keys = keys(&args.key, &data)?;
    let head = args.head.as_deref().map(|head| held(head, &keys));
    let expected = Expected {
        head: head.transpose()?,
        keys,
    };
    let checked = hotshoe_audit::verify(&data.join(FOLDER), &expected)?;
    let ok = checked.found == 0;
    if terminal.json {
        terminal.json(&report(&checked, &expected))?;
    } else {
        print(&checked, &expected, terminal)?;
    }
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn report<'a>(checked: &'a Checked, expected: &Expected) -> Report<'a> {
    let findings = checked.findings.iter().map(|finding| Found {
        finding,
        message: finding.to_string(),
    });
    Report {
        ok: checked.found == 0,
        records: checked.records,
        first: checked.first,
        head: checked.head,
        key: !expected.keys.is_empty(),
        signatures: checked.signatures,
        signed_through: checked.signed_through,
        found: checked.found,
        findings: findings.collect(),
    }
}

fn print(checked: &Checked, expected: &Expected, terminal: &Terminal) -> anyhow::Result<()> {
    for finding in &checked.findings {
        let name = terminal.bad(finding.name());
        terminal.print(format!("{name}: {finding}"))?;
    }
    let more = checked.found.saturating_sub(checked.findings.len() as u64);
    if more > 0 {
        terminal.print(format!("and {more} more"))?;
    }
    let verdict = match checked.found {
        0 => terminal.good("intact"),
        _ => terminal.bad("NOT INTACT"),
    };
    terminal.print(format!("{verdict}: {} records", checked.records))?;
    if let Some(head) = checked.head {
        terminal.print(format!("head {head}"))?;
    }
    let signed = match (expected.keys.is_empty(), checked.signed_through) {
        (true, _) => "signatures were not verified: give --key".to_owned(),
        (false, None) => "the device has signed nothing yet".to_owned(),
        (false, Some(through)) => format!(
            "{} signatures of the device, the last one over record {through}",
            checked.signatures
        ),
    };
    terminal.print(signed)
}

/// The given keys, or the one in the data folder, if there is one.
fn keys(given: &[PathBuf], data: &Path) -> anyhow::Result<Vec<PublicKey>> {
    let own = data.join(PUBLIC);
    let files = match given {
        [] if own.exists() => std::slice::from_ref(&own),
        given => given,
    };
    let read = |path: &PathBuf| {
        let context = || format!("cannot use the key {}", path.display());
        let pem = read_text(path, MAX_FILE_BYTES).with_context(context)?;
        PublicKey::from_pem(&pem, Scheme::EcdsaP256Sha256).with_context(context)
    };
    files.iter().map(read).collect()
}

/// A head that was published earlier.
fn held(text: &str, keys: &[PublicKey]) -> anyhow::Result<Head> {
    if let Ok(head) = text.parse() {
        return Ok(head);
    }
    let path = PathBuf::from(text);
    let json = read_text(&path, MAX_FILE_BYTES)
        .with_context(|| format!("cannot read the head {}", path.display()))?;
    let unusable = |source| AuditCommandError::NotAHead {
        path: path.clone(),
        source,
    };
    let value: Value = serde_json::from_str(&json).map_err(unusable)?;
    // Registries and devices keep those of other devices.
    if let Some(Value::Array(heads)) = value.get("heads") {
        let heads = heads
            .iter()
            .cloned()
            .map(serde_json::from_value::<HeldHead>);
        let own = heads
            .filter_map(Result::ok)
            .filter(|held| held.head.is_signed(keys));
        let newest = own.map(|held| held.head.head).max_by_key(|it| it.sequence);
        return newest.ok_or_else(|| AuditCommandError::UnsignedHead { path }.into());
    }
    // A whole status has it as `audit`; `hotshoe status` prints a list.
    let value = value.get(0).cloned().unwrap_or(value);
    let value = value.get("audit").cloned().unwrap_or(value);
    let head: SignedHead = serde_json::from_value(value).map_err(unusable)?;
    if head.signature.is_some() && !keys.is_empty() && !head.is_signed(keys) {
        return Err(AuditCommandError::UnsignedHead { path }.into());
    }
    Ok(head.head)
}
