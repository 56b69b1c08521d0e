//! The contents of a release, not verified.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_store::Layout;
use hotshoe_trust::manifest::Manifest;
use hotshoe_trust::{
    Allowed, Component, DataBounds, Digest, EffectiveContract, ExposedOutput, Mode, Release,
    ReleaseLimits, Requires, Step, pixel_exposure, strict_json,
};
use serde::{Deserialize, Serialize};
use termtree::Tree;

use super::component::Report;
use super::drift::DriftReport;
use crate::commands::pack;
use hotshoe_release::terminal::{Terminal, size};

/// The contents of a release, not verified.
#[derive(Debug, Serialize)]
pub(super) struct Inspection {
    /// Always false.
    pub verified: bool,
    /// The digest of the manifest.
    pub digest: Digest,
    /// The manifest's file, which signatures cover.
    pub manifest: PathBuf,
    /// The manifest's config.
    pub release: Release,
    /// The contents of each component, or why they cannot be read.
    pub components: BTreeMap<String, ComponentReport>,
    /// Each output, and whether pixels of a sample reach it, under the masks of the release and of the device.
    pub pixels: Vec<ExposedOutput>,
    /// What the baseline of `[drift]` has. Absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<DriftReport>,
    /// The claimed signer of each bundle.
    pub signatures: Vec<Signature>,
}

/// The contents of a component, or why they cannot be read.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ComponentReport {
    /// The component can be read.
    Readable(Box<Report>),
    /// The bytes are missing, damaged or not a component.
    Unreadable {
        /// Why.
        error: String,
    },
}

/// The claims of a signature bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Signature {
    /// The hint of the key, if the bundle has one.
    pub key_hint: Option<String>,
    /// The bundle's size in bytes.
    pub bytes: usize,
}

/// Reads a release without verifying it.
pub(super) fn inspect(path: &Path, allowed: Option<&Allowed>) -> anyhow::Result<Inspection> {
    let cannot = || format!("cannot read {}", path.display());
    let layout = Layout::open(path).with_context(cannot)?;
    let package = layout.package().with_context(cannot)?;
    Manifest::parse(&package.manifest)
        .context("the manifest cannot be read")
        .with_context(cannot)?;
    let release: Release = strict_json::parse(&package.config, ReleaseLimits::CONFIG_BYTES)
        .context("the manifest's config cannot be read")
        .with_context(cannot)?;
    let components = release
        .components
        .iter()
        .map(|(name, component)| {
            (
                name.clone(),
                component_report(&layout, name, component, allowed),
            )
        })
        .collect();
    let digest = Digest::of(&package.manifest);
    let mut tables = vec![&release.privacy];
    tables.extend(allowed.map(|allowed| &allowed.privacy));
    Ok(Inspection {
        pixels: pixel_exposure(&release, &tables),
        verified: false,
        digest,
        manifest: layout.blob_path(digest),
        baseline: DriftReport::of(&layout, &release),
        release,
        components,
        signatures: package.bundles.iter().map(|it| signature(it)).collect(),
    })
}

fn component_report(
    layout: &Layout,
    name: &str,
    spec: &Component,
    allowed: Option<&Allowed>,
) -> ComponentReport {
    let read = || -> anyhow::Result<Report> {
        let bytes = layout.read(&spec.blob)?;
        Ok(Report::of(name, &bytes, Some(spec), allowed)?)
    };
    match read() {
        Ok(report) => ComponentReport::Readable(Box::new(report)),
        Err(error) => ComponentReport::Unreadable {
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

impl Inspection {
    /// The tree for people.
    pub(super) fn tree(&self, terminal: &Terminal) -> Tree<String> {
        let release = &self.release;
        let title = format!("{} {}", release.name, release.generation);
        let leaves = [
            Tree::new(format!("manifest {}", self.digest)),
            Tree::new(format!(
                "issued {}, expires {}",
                release.issued, release.expires
            )),
            Tree::new(format!(
                "for hosts {}, devices {}",
                release.hotshoe,
                devices(release)
            )),
            Tree::new(format!("pipeline: {}", pipeline(release))),
            Tree::new(format!("may be recorded: {}", recorded(release))),
            Tree::new(format!("leaves: {}", leaving(release))),
            Tree::new(format!("privacy: {}", privacy(release))),
            self.pixel_branch(),
            self.component_branch(terminal),
            contents(release),
            trial(release),
            self.signature_branch(),
        ];
        let drift = release.drift.as_ref().zip(self.baseline.as_ref());
        let drift = drift.map(|(rules, found)| found.tree(rules));
        let leaves = leaves.into_iter().chain(modes(release)).chain(drift);
        Tree::new(terminal.bold(&title)).with_leaves(leaves)
    }

    fn component_branch(&self, terminal: &Terminal) -> Tree<String> {
        let leaf = |(name, spec): (&String, &Component)| {
            let root = format!(
                "{}  {}, {}",
                terminal.bold(name),
                spec.world,
                size(spec.blob.size)
            );
            let mut leaves = match self.components.get(name) {
                Some(ComponentReport::Readable(report)) => report.leaves(terminal),
                Some(ComponentReport::Unreadable { error }) => vec![Tree::new(terminal.bad(error))],
                None => Vec::new(),
            };
            leaves.extend(given(spec));
            Tree::new(root).with_leaves(leaves)
        };
        Tree::new("components".to_owned()).with_leaves(self.release.components.iter().map(leaf))
    }

    fn pixel_branch(&self) -> Tree<String> {
        let leaf = |exposed: &ExposedOutput| {
            let ExposedOutput {
                output,
                raw_pixels,
                path,
                reason,
            } = exposed;
            let way = if path.is_empty() {
                String::new()
            } else {
                format!("{}; ", path.join(" -> "))
            };
            Tree::new(format!("{output}: {raw_pixels}; {way}{reason}"))
        };
        let title = "raw pixels by output".to_owned();
        Tree::new(title).with_leaves(self.pixels.iter().map(leaf))
    }

    fn signature_branch(&self) -> Tree<String> {
        let title = format!("signatures: {}", self.signatures.len());
        Tree::new(title).with_leaves(self.signatures.iter().map(|signature| {
            let hint = signature.key_hint.as_deref().unwrap_or("(no key hint)");
            Tree::new(format!("key {hint}"))
        }))
    }
}

/// What the release gives a component besides its grants.
fn given(spec: &Component) -> Vec<Tree<String>> {
    let mut leaves = Vec::new();
    let mut named = |title: &str, names: Vec<String>| {
        if !names.is_empty() {
            leaves.push(Tree::new(format!("{title}: {}", names.join(", "))));
        }
    };
    named("models", spec.models.iter().cloned().collect());
    named("data", spec.data.iter().cloned().collect());
    let settings = spec
        .config
        .iter()
        .map(|(key, value)| format!("{key} = {value:?}"));
    named("config", settings.collect());
    leaves.push(Tree::new(limits(spec)));
    leaves
}

/// The limits, named as in release.toml.
fn limits(spec: &Component) -> String {
    let value = serde_json::to_value(&spec.limits).unwrap_or_default();
    let pairs = value.as_object().into_iter().flatten();
    let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key} {value}")).collect();
    format!("limits: {}; instance {}", pairs.join(", "), spec.instance)
}

fn contents(release: &Release) -> Tree<String> {
    let others = pack::contents(release);
    let others = others.iter().filter(|content| content.kind != "component");
    let leaves: Vec<_> = others
        .map(|content| {
            Tree::new(format!(
                "{} {}  {}  {}",
                content.kind,
                content.name,
                size(content.blob.size),
                content.blob.digest
            ))
        })
        .collect();
    let title = format!(
        "contents{}",
        match release.chunks.len() {
            0 => String::new(),
            moved => format!(" ({moved} blobs are transferred in chunks)"),
        }
    );
    Tree::new(title).with_leaves(leaves)
}

/// The self-tests before the release serves, and the health gate of its trial.
fn trial(release: &Release) -> Tree<String> {
    let mut lines: Vec<String> = release
        .tests
        .iter()
        .map(|test| {
            let (name, kind) = (&test.name, &test.media_type);
            format!(
                "self-test {name}: {kind}, agreement at least {}",
                test.min_agreement
            )
        })
        .collect();
    let health = &release.health;
    let mut gate = format!(
        "health gate: at least {} samples and {} s; at most {} errors, {} traps, {} missed deadlines a sample",
        health.min_samples,
        health.min_seconds,
        health.max_error_rate,
        health.max_trap_rate,
        health.max_deadline_miss_rate
    );
    if let Some(seconds) = health.confirm_after_seconds {
        gate.push_str(&format!("; after {seconds} s, with fewer samples too"));
    }
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
    Tree::new("checks before it is kept".to_owned()).with_leaves(lines.into_iter().map(Tree::new))
}

/// The modes in order of their levels; none where the release has none.
fn modes(release: &Release) -> Option<Tree<String>> {
    let mut modes: Vec<_> = release.modes.iter().collect();
    modes.sort_by_key(|(_, mode)| mode.level);
    let leaves = modes
        .iter()
        .map(|(name, mode)| Tree::new(format!("{name}: {}", mode_text(mode))));
    (!modes.is_empty()).then(|| Tree::new("modes".to_owned()).with_leaves(leaves))
}

fn mode_text(mode: &Mode) -> String {
    let mut parts = vec![format!("level {}", mode.level)];
    if mode.rate.every > 1 {
        parts.push(format!("1 of {} samples", mode.rate.every));
    }
    if let Some(most) = mode.rate.max_per_second {
        parts.push(format!("at most {most} samples a second"));
    }
    if mode.rate.only_on_motion {
        parts.push("only on motion".to_owned());
    }
    for (model, variant) in &mode.variants {
        parts.push(format!("[{model}] as {variant}"));
    }
    for component in &mode.rests.components {
        parts.push(format!("without {component}"));
    }
    for output in &mode.rests.outputs {
        parts.push(format!("without output/{output}"));
    }
    parts.join(", ")
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
    names + &labels + &required(&release.requires)
}

fn required(requires: &Requires) -> String {
    let globs = |what: &str, globs: &[String]| {
        let all = globs.join(", ");
        (!globs.is_empty()).then(|| format!(" of {what} {all}"))
    };
    let least = |what: &str, least: u64| (least > 0).then(|| format!(" with {least} {what}"));
    [
        globs("class", &requires.classes),
        globs("architecture", &requires.architectures),
        least("cores", requires.cores),
        least("MiB of memory", requires.memory_mib),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn recorded(release: &Release) -> String {
    let kinds = release.data_contract.record.iter();
    let kinds: Vec<_> = kinds.map(ToString::to_string).collect();
    if kinds.is_empty() {
        "nothing".to_owned()
    } else {
        kinds.join(", ")
    }
}

/// The class of each output by the contract of the release alone, and how it leaves.
fn leaving(release: &Release) -> String {
    let contract = EffectiveContract::of(Some(release), &DataBounds::default());
    let mut outputs = vec![
        ("insight".to_owned(), contract.insight()),
        ("action".to_owned(), contract.action()),
    ];
    let topics: BTreeSet<&String> = release
        .components
        .values()
        .flat_map(|it| &it.topics)
        .collect();
    for topic in topics {
        outputs.push((format!("topic:{topic}"), contract.topic(topic)));
    }
    let outputs = outputs.iter().map(|(output, class)| {
        let upload = class.class.upload;
        format!("{output} as {} ({upload})", class.name)
    });
    outputs.collect::<Vec<_>>().join(", ")
}

/// The masks of the release.
fn privacy(release: &Release) -> String {
    use hotshoe_trust::PrivacyBlur;
    let blur = match release.privacy.blur {
        PrivacyBlur::None => "",
        PrivacyBlur::Masks => ", blurred",
        PrivacyBlur::All => ", and whole pictures blurred",
    };
    let sources: Vec<_> = release.privacy.sources().into_iter().collect();
    match release.privacy.masks.len() {
        0 if blur.is_empty() => "no masks".to_owned(),
        0 => "no masks, and whole pictures blurred".to_owned(),
        masks => format!("{masks} masks for {}{blur}", sources.join(", ")),
    }
}

fn pipeline(release: &Release) -> String {
    let steps: Vec<String> = release.pipeline.iter().map(step).collect();
    format!("sample -> {} -> actions", steps.join(" -> "))
}

fn step(step: &Step) -> String {
    match step {
        Step::Filter { component }
        | Step::Preprocess { component }
        | Step::Postprocess { component } => component.clone(),
        Step::Stage { component } | Step::Policy { component, .. } => component.clone(),
        Step::Infer { model } => format!("[{model}]"),
    }
}
