use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_store::Layout;

use crate::oci::{self, Access, Address, Remote};
use hotshoe_release::terminal::{Terminal, size};

/// Push a release to an OCI registry
///
/// Sends the blobs that the registry lacks, the signed manifest, and the signatures as manifests that refer to it. To other tools the
/// release is an OCI artifact: `oras`, `skopeo` and the registry's own pages can show and copy it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe push my-release oci://registry.example/line/labels:3

Example: to a registry on this machine
  hotshoe push my-release oci://localhost:5000/labels:3

Credentials: those from `podman login`, `skopeo login`, `docker login` or `oras login`, or --username with the password in
HOTSHOE_REGISTRY_PASSWORD.
Certificates: those of the system or of SSL_CERT_FILE, --ca-file, and HOST[:PORT]/*.crt in certs.d of Docker and the containers tools.
Temporary failures are retried: a request has at most 5 attempts.")]
pub(crate) struct Args {
    /// The release
    #[arg(value_name = "RELEASE")]
    layout: PathBuf,
    /// The destination: oci://HOST[:PORT]/REPOSITORY[:TAG]
    #[arg(value_name = "ADDRESS")]
    to: Address,
    #[command(flatten)]
    access: Access,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(&args.layout)?;
    let progress = terminal.progress();
    let pushed = runtime()?.block_on(async {
        let remote = Remote::open(&args.to, &args.access, true, &progress).await?;
        oci::push(&layout, &remote, &progress).await
    });
    let pushed = pushed.with_context(|| format!("cannot push to {}", args.to))?;
    if terminal.json {
        terminal.json(&pushed)?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal.print(format!(
        "{}  {}",
        terminal.bold(&pushed.place),
        pushed.digest
    ))?;
    terminal.print(format!(
        "{} sent, {} already there; signatures: {}",
        size(pushed.sent_bytes),
        size(pushed.present_bytes),
        pushed.signatures
    ))?;
    if pushed.signatures == 0 {
        terminal
            .note("not signed: devices refuse it; sign it with `hotshoe sign`, then push again");
    }
    Ok(ExitCode::SUCCESS)
}

/// An async runtime for one command.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}
