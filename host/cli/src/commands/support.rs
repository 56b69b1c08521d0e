mod redact;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_audit::{FOLDER, Record, read_segments};
use hotshoe_base::chain;
use hotshoe_config::Config;
use hotshoe_daemon::command::Command;
use hotshoe_daemon::control;
use hotshoe_release::files::{Readers, read_text, write_new};
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use hotshoe_trust::Time;
use serde::Serialize;
use serde_json::{Value, json};

use crate::fleet::local::{CONFIG, local_config};
use redact::{Hidden, redacted};

/// Most audit records of a bundle: the newest.
const RECORDS: usize = 500;
/// Most files that are listed.
const FILES: usize = 10_000;

/// Write a file for support, without secrets
///
/// The file is JSON: the version, the configuration without its values that may be secret, the status and the history if a daemon runs, the
/// newest audit records, and the names and sizes of the files of the data folder. No sample, insight, model or key is in it, and each secret
/// and token that this device has is replaced where it appears. Read it before you send it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe support --config hotshoe.toml --out support.json

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Args {
    /// The device's configuration [default: hotshoe.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The file to write, for its owner alone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Bundle {
    format: u32,
    version: &'static str,
    made: Time,
    kernel: String,
    config: Value,
    /// What the daemon answers, or why it does not.
    status: Value,
    history: Value,
    audit: Vec<Record>,
    files: Vec<Listed>,
    /// What could not be read.
    missing: Vec<String>,
}

/// A file of the data folder.
#[derive(Serialize)]
struct Listed {
    path: String,
    bytes: u64,
    encrypted: bool,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let path = args.config.as_deref().unwrap_or(Path::new(CONFIG));
    let config = local_config(Some(path))?;
    let mut missing = Vec::new();
    let hidden = Hidden::of(&config, &mut missing);
    let bundle = bundle(path, &config, missing)?;
    let mut shown = serde_json::to_value(&bundle)?;
    hidden.replace(&mut shown);
    let text = serde_json::to_string_pretty(&shown)?;
    write_new(&args.out, text.as_bytes(), Readers::Owner, args.force)?;
    if terminal.json {
        terminal
            .json(&json!({ "file": args.out, "bytes": text.len(), "missing": bundle.missing }))?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal.print(format!(
        "{} {}; read it before you send it",
        terminal.good("written"),
        args.out.display()
    ))?;
    for missing in &bundle.missing {
        terminal.note(format!("not in it: {missing}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn bundle(path: &Path, config: &Config, mut missing: Vec<String>) -> anyhow::Result<Bundle> {
    let table: toml::Table = toml::from_str(&read_text(path)?)
        .with_context(|| format!("cannot use {}", path.display()))?;
    let mut ask = |what: &str, command: &Command| {
        control::call(&config.data, command).unwrap_or_else(|error| {
            missing.push(format!("{what}: {}", chain(&error)));
            Value::Null
        })
    };
    let (status, history) = (
        ask("status", &Command::Status),
        ask("history", &Command::History),
    );
    let audit = records(config).unwrap_or_else(|error| {
        missing.push(format!("audit: {error:#}"));
        Vec::new()
    });
    let files = files(&config.data).unwrap_or_else(|error| {
        missing.push(format!("files: {error:#}"));
        Vec::new()
    });
    Ok(Bundle {
        format: 1,
        version: env!("CARGO_PKG_VERSION"),
        made: Time::now(),
        kernel: read_text(Path::new("/proc/version")).unwrap_or_default(),
        config: redacted(&serde_json::to_value(table)?),
        status,
        history,
        audit,
        files,
        missing,
    })
}

fn records(config: &Config) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for segment in read_segments(&config.data.join(FOLDER))? {
        records.extend(segment.lines().filter_map(|line| line.record()));
    }
    let old = records.len().saturating_sub(RECORDS);
    records.drain(..old);
    Ok(records)
}

/// The files of the data folder. Links are not followed.
fn files(data: &Path) -> anyhow::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)
            .with_context(|| format!("cannot list {}", folder.display()))?
        {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, entry.path());
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && listed.len() < FILES {
                let encrypted = hotshoe_base::files::open(&path)
                    .and_then(|file| hotshoe_sealing::is_sealed_file(&file))
                    .unwrap_or_default();
                listed.push(Listed {
                    path: path
                        .strip_prefix(data)
                        .unwrap_or(&path)
                        .display()
                        .to_string(),
                    bytes: entry.metadata().map_or(0, |about| about.len()),
                    encrypted,
                });
            }
        }
    }
    listed.sort_by(|one, two| one.path.cmp(&two.path));
    Ok(listed)
}
