use super::pack::Summary;
use crate::terminal::{Terminal, size};
use anyhow::Context;
use hotshoe_devkit::{Interface, interface};
use hotshoe_store::Layout;
use hotshoe_trust::manifest::Manifest;
use hotshoe_trust::{Blob, Digest, Release, ReleaseLimits, strict_json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show what a release holds, without trusting it
///
/// Shows the manifest, each component with its world, grants, imports and exports, the models and data, the self-tests and the
/// health gate, and whose signatures are attached. Nothing is checked but that the files can be read: use `verify` for that.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe inspect my-release
  hotshoe inspect my-release --json | jq .release.components")]
pub struct Args {
    /// The release
    #[arg(value_name = "RELEASE")]
    layout: PathBuf,
}

/// A release as its files say, with nothing verified.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// Always false.
    pub verified: bool,
    /// The digest of the manifest.
    pub digest: Digest,
    /// The manifest's file, which is what a signature covers.
    pub manifest: PathBuf,
    /// The manifest's config.
    pub release: Release,
    /// What each component's bytes say that it imports and exports, or why they cannot be read.
    pub interfaces: BTreeMap<String, Boundary>,
    /// The claimed signer of each bundle.
    pub signatures: Vec<Signature>,
}

/// What a component's bytes say.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Boundary {
    /// They are a component.
    Readable(Interface),
    /// They are missing, damaged or no component.
    Unreadable {
        /// Why.
        error: String,
    },
}

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// The hint that names the key, if the bundle has one.
    pub key_hint: Option<String>,
    /// The bundle's size in bytes.
    pub bytes: usize,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let inspection = inspect(&args.layout)?;
    if terminal.json {
        terminal.json(&inspection)?;
    } else {
        print(&inspection, terminal)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a release without verifying it.
pub fn inspect(path: &Path) -> anyhow::Result<Inspection> {
    let cannot = || format!("cannot read {}", path.display());
    let layout = Layout::open(path).with_context(cannot)?;
    let package = layout.package().with_context(cannot)?;
    Manifest::parse(&package.manifest)
        .context("the manifest cannot be read")
        .with_context(cannot)?;
    let release: Release = strict_json::parse(&package.config, ReleaseLimits::CONFIG_BYTES)
        .context("the manifest's config cannot be read")
        .with_context(cannot)?;
    let interfaces = release
        .components
        .iter()
        .map(|(name, component)| (name.clone(), boundary(&layout, &component.blob)))
        .collect();
    let digest = Digest::of(&package.manifest);
    Ok(Inspection {
        verified: false,
        digest,
        manifest: layout.blob_path(digest),
        release,
        interfaces,
        signatures: package
            .bundles
            .iter()
            .map(|bundle| signature(bundle))
            .collect(),
    })
}

fn boundary(layout: &Layout, blob: &Blob) -> Boundary {
    let read = || interface(&layout.read(blob)?).map_err(anyhow::Error::from);
    match read() {
        Ok(interface) => Boundary::Readable(interface),
        Err(error) => Boundary::Unreadable {
            error: format!("{error:#}"),
        },
    }
}

fn signature(bundle: &[u8]) -> Signature {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Claim {
        verification_material: Material,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Material {
        public_key: Hint,
    }
    #[derive(Deserialize)]
    struct Hint {
        hint: String,
    }
    Signature {
        key_hint: serde_json::from_slice::<Claim>(bundle)
            .ok()
            .map(|claim| claim.verification_material.public_key.hint),
        bytes: bundle.len(),
    }
}

fn print(inspection: &Inspection, terminal: &Terminal) -> anyhow::Result<()> {
    let release = &inspection.release;
    Summary::of(release, inspection.digest).print(terminal)?;
    terminal.print(terminal.warning("not verified: this is what the release says of itself"))?;
    terminal.print(format!(
        "for hosts {}, devices {}",
        release.hotshoe,
        devices(release)
    ))?;
    let steps: Vec<String> = release.pipeline.iter().map(step).collect();
    terminal.print(format!(
        "pipeline: sample -> {} -> actions\n",
        steps.join(" -> ")
    ))?;
    for (name, component) in &release.components {
        terminal.print(format!(
            "{}  {}, {}",
            terminal.bold(name),
            component.world,
            size(component.blob.size)
        ))?;
        let grants: Vec<String> = component.grants.iter().map(ToString::to_string).collect();
        let line = |title: &str, items: &[String]| match items {
            [] => Ok(()),
            items => terminal.print(format!("  {title:<8} {}", items.join(", "))),
        };
        line("grants", &grants)?;
        line(
            "models",
            &component.models.iter().cloned().collect::<Vec<_>>(),
        )?;
        line("data", &component.data.iter().cloned().collect::<Vec<_>>())?;
        match inspection.interfaces.get(name) {
            Some(Boundary::Readable(interface)) => {
                line("imports", &interface.imports)?;
                line("exports", &interface.exports)?;
            }
            Some(Boundary::Unreadable { error }) => {
                terminal.print(format!("  {}", terminal.bad(error)))?
            }
            None => {}
        }
    }
    let others: Vec<_> = super::pack::contents(release)
        .into_iter()
        .filter(|content| content.kind != "component")
        .collect();
    if !others.is_empty() {
        terminal.print(super::pack::contents_table(&others, terminal))?;
    }
    for line in trial(release) {
        terminal.print(line)?;
    }
    terminal.print(format!(
        "signatures: {}, over {}",
        inspection.signatures.len(),
        inspection.manifest.display()
    ))?;
    for signature in &inspection.signatures {
        let hint = signature.key_hint.as_deref().unwrap_or("(names no key)");
        terminal.print(format!("  key {hint}"))?;
    }
    Ok(())
}

/// What a device tries before the release serves, and what it asks of it on trial.
fn trial(release: &Release) -> Vec<String> {
    let mut lines = Vec::new();
    for test in &release.tests {
        lines.push(format!(
            "self-test {}: {}, agreement at least {}",
            test.name, test.media_type, test.min_agreement
        ));
    }
    let health = &release.health;
    let mut gate = format!(
        "health gate: at least {} samples and {} s; at most {} errors, {} traps, {} missed deadlines a sample",
        health.min_samples,
        health.min_seconds,
        health.max_error_rate,
        health.max_trap_rate,
        health.max_deadline_miss_rate
    );
    if let Some(p95) = health.max_latency_p95_ms {
        gate.push_str(&format!("; p95 at most {p95} ms"));
    }
    if let Some(ratio) = health.max_latency_ratio {
        gate.push_str(&format!(
            "; p95 at most {ratio} times the previous release's"
        ));
    }
    lines.push(gate);
    if let Some(shadow) = &health.shadow {
        lines.push(format!(
            "shadow: {} samples, agreement at least {}",
            shadow.samples, shadow.min_agreement
        ));
    }
    if !release.chunks.is_empty() {
        lines.push(format!(
            "blobs that move in chunks: {}",
            release.chunks.len()
        ));
    }
    lines
}

fn devices(release: &Release) -> String {
    let names = match release.devices.names.as_slice() {
        [] => "any".to_owned(),
        names => names.join(", "),
    };
    let labels: String = release
        .devices
        .labels
        .iter()
        .map(|(key, value)| format!(" with {key}={value}"))
        .collect();
    names + &labels
}

fn step(step: &hotshoe_trust::Step) -> String {
    use hotshoe_trust::Step;
    match step {
        Step::Preprocess { component } | Step::Postprocess { component } => component.clone(),
        Step::Stage { component } | Step::Policy { component, .. } => component.clone(),
        Step::Infer { model } => format!("[{model}]"),
    }
}
