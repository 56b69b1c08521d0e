use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::push::runtime;
use crate::oci::{self, Access, Address, OciError, Remote};
use hotshoe_release::terminal::{Terminal, size};

/// Pull a release from an OCI registry
///
/// Writes the release and its signatures to a folder, as `pack` and `sign` do. Checks sizes and digests, but not who signed: `verify` and
/// the device do that.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe pull oci://registry.example/line/labels:3 --out my-release
  hotshoe verify my-release --trust trust.toml

Example: a fixed release, by the digest of its manifest
  hotshoe pull oci://registry.example/line/labels@sha256:DIGEST --out my-release

Credentials: those from `podman login`, `skopeo login`, `docker login` or `oras login`, or --username with the password in
HOTSHOE_REGISTRY_PASSWORD.
Certificates: those of the system or of SSL_CERT_FILE, --ca-file, and HOST[:PORT]/*.crt in certs.d of Docker and the containers tools.
Temporary failures are retried: a request has at most 5 attempts. Repeat an interrupted pull to continue it.")]
pub(crate) struct Args {
    /// The source: oci://HOST[:PORT]/REPOSITORY[:TAG | @DIGEST]
    #[arg(value_name = "ADDRESS")]
    from: Address,
    /// The folder to write; an existing release is overwritten
    #[arg(long, value_name = "DIR", default_value = "release")]
    out: PathBuf,
    #[command(flatten)]
    access: Access,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let progress = terminal.progress();
    let pulled = runtime()?.block_on(async {
        let pulled = async {
            let remote = Remote::open(&args.from, &args.access, false, &progress).await?;
            oci::pull(&remote, &args.out, &progress).await
        };
        // A pull that is dropped keeps what the next one continues with, and removes the rest.
        tokio::select! {
            pulled = pulled => pulled,
            signal = stopped() => Err(OciError::Interrupted { signal }),
        }
    });
    let pulled = pulled.with_context(|| format!("cannot pull {}", args.from))?;
    if terminal.json {
        terminal.json(&pulled)?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal.print(format!(
        "{}  {}",
        terminal.bold(&pulled.place),
        pulled.digest
    ))?;
    terminal.print(format!(
        "{} received, in {}; signatures: {}, not verified: hotshoe verify {} --trust FILE",
        size(pulled.bytes),
        args.out.display(),
        pulled.signatures,
        args.out.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for a signal that ends the command, and returns its name. Where signals cannot be waited for, it never returns, and they end
/// the process as usual.
async fn stopped() -> &'static str {
    let kinds = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = kinds else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
        _ = hangup.recv() => "SIGHUP",
    }
}
