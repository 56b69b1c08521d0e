//! Which outputs of a pipeline the pixels of a sample can reach, from its graph and its grants.

use std::fmt;

use serde::Serialize;

use crate::{
    access::Access,
    privacy::Privacy,
    release::{Component, Grant, Release, Step},
};

/// Whether the pixels of a sample can reach an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawPixels {
    /// As they were taken, from some source at least.
    Yes,
    /// After masks that apply to every source.
    Masked,
    /// Not at all.
    No,
}

impl fmt::Display for RawPixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "yes",
            Self::Masked => "masked",
            Self::No => "no",
        })
    }
}

/// An output, and how the pixels of a sample get there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExposedOutput {
    /// `insight`, `action`, `error`, `topic T`, `recording of K`, or `log`, `metrics`, `state`, `network` or `folder F`, with ` of C` for
    /// the component C.
    pub output: String,
    /// Whether raw pixels reach it.
    pub raw_pixels: RawPixels,
    /// The way there, from `sample` to the output. Empty if there is none.
    pub path: Vec<String>,
    /// Why.
    pub reason: String,
}

/// Every output of a pipeline. `tables` are all that apply: the release's own, and a device's. A component that reads a sample, or what was
/// made of one, may put its pixels into anything that it writes. So may a model, since its outputs are made of its inputs.
pub fn pixel_exposure(release: &Release, tables: &[&Privacy]) -> Vec<ExposedOutput> {
    let flow = Flow::of(release);
    let mut outputs = Outputs::under(tables);
    outputs.reached("insight", &flow.insight);
    let policies = || flow.readers.iter().filter(|reader| reader.is_policy);
    match policies().next() {
        Some(policy) => outputs.reached("action", &policy.path),
        None => outputs.unreached("action", "no policy of the pipeline makes actions"),
    }
    let mut has_topics = false;
    for (policy, topic) in policies().flat_map(|it| it.spec.topics.iter().map(move |t| (it, t))) {
        outputs.reached(&format!("topic {topic}"), &policy.path);
        has_topics = true;
    }
    if !has_topics {
        outputs.unreached("topic", "no policy of the pipeline lists topics");
    }
    match flow.readers.first() {
        Some(reader) => outputs.reached("error", &reader.path),
        None => outputs.unreached(
            "error",
            "the pipeline has no component, and the host's texts have no pixels",
        ),
    }
    recordings(release, &flow, &mut outputs);
    for (name, is_open, reason) in DOORS {
        outputs.of_components(name, &flow, is_open, reason);
    }
    folders(&flow, &mut outputs);
    outputs.all
}

/// What a component writes to besides its result: the name, whether it can, and why none can.
type Door = (&'static str, fn(&Component) -> bool, &'static str);

const DOORS: [Door; 4] = [
    (
        "log",
        |it| it.grants.contains(&Grant::Log) || it.grants.contains(&Grant::Wasi),
        "no component of the pipeline is granted `log` or `wasi`",
    ),
    (
        "metrics",
        |it| it.grants.contains(&Grant::Metrics),
        "no component of the pipeline is granted `metrics`",
    ),
    (
        "state",
        |it| it.grants.contains(&Grant::State),
        "no component of the pipeline is granted `state`",
    ),
    (
        "network",
        |it| {
            let grants = [Grant::WasiSockets, Grant::WasiHttp];
            !it.hosts.is_empty() && grants.iter().any(|grant| it.grants.contains(grant))
        },
        "no component of the pipeline may connect to a host",
    ),
];

fn recordings(release: &Release, flow: &Flow<'_>, outputs: &mut Outputs) {
    use crate::data_contract::RecordKind;
    let kinds = &release.data_contract.record;
    for kind in kinds {
        let path = match kind {
            RecordKind::Sample => vec![SAMPLE.to_owned()],
            RecordKind::Tensors => flow.tensors.clone(),
            RecordKind::Insight => flow.insight.clone(),
        };
        outputs.reached(&format!("recording of {kind}"), &path);
    }
    if kinds.is_empty() {
        outputs.unreached("recording", "[data-contract] allows no recording");
    }
}

fn folders(flow: &Flow<'_>, outputs: &mut Outputs) {
    let mut is_any = false;
    for reader in &flow.readers {
        let written = reader.spec.folders.iter();
        for (folder, _) in written.filter(|(_, access)| **access == Access::Write) {
            outputs.reached(&format!("folder {folder} of {}", reader.name), &reader.path);
            is_any = true;
        }
    }
    if !is_any {
        outputs.unreached(
            "folder",
            "no component of the pipeline may write to a folder",
        );
    }
}

const SAMPLE: &str = "sample";

/// The way of a sample through the pipeline.
struct Flow<'r> {
    /// The components, in the order of the pipeline.
    readers: Vec<Reader<'r>>,
    /// The way to the first tensors.
    tensors: Vec<String>,
    /// The way to the insight.
    insight: Vec<String>,
}

struct Reader<'r> {
    name: &'r str,
    spec: &'r Component,
    is_policy: bool,
    path: Vec<String>,
}

impl<'r> Flow<'r> {
    fn of(release: &'r Release) -> Self {
        let sample = vec![SAMPLE.to_owned()];
        let mut flow = Self {
            readers: Vec::new(),
            tensors: sample.clone(),
            insight: sample.clone(),
        };
        let mut has_tensors = false;
        for step in &release.pipeline {
            let (name, is_policy) = match step {
                Step::Infer { model } => {
                    flow.insight.push(format!("[{model}]"));
                    if !has_tensors {
                        flow.tensors = flow.insight.clone();
                        has_tensors = true;
                    }
                    continue;
                }
                Step::Policy { component, .. } => (component, true),
                Step::Filter { component }
                | Step::Preprocess { component }
                | Step::Postprocess { component }
                | Step::Stage { component } => (component, false),
            };
            // All but a policy read the sample itself.
            let mut path = if is_policy {
                flow.insight.clone()
            } else {
                sample.clone()
            };
            path.push(name.clone());
            // A filter makes nothing of the sample.
            if !is_policy && !matches!(step, Step::Filter { .. }) {
                flow.insight.clone_from(&path);
            }
            if matches!(step, Step::Preprocess { .. }) {
                flow.tensors.clone_from(&path);
                has_tensors = true;
            }
            let known = flow.readers.iter().any(|reader| reader.name == name);
            if let (Some(spec), false) = (release.components.get(name), known) {
                flow.readers.push(Reader {
                    name,
                    spec,
                    is_policy,
                    path,
                });
            }
        }
        flow
    }
}

/// The outputs so far, and what those that are reached are.
struct Outputs {
    reached: RawPixels,
    reason: String,
    all: Vec<ExposedOutput>,
}

impl Outputs {
    fn under(tables: &[&Privacy]) -> Self {
        let sources: Vec<_> = tables.iter().flat_map(|table| table.sources()).collect();
        let (reached, reason) = if tables.iter().any(|table| table.covers_every_source()) {
            let reason = "masks are burned in first, for every source";
            (RawPixels::Masked, reason.to_owned())
        } else if sources.is_empty() {
            (RawPixels::Yes, "[privacy] has no masks".to_owned())
        } else {
            let sources = sources.join("`, `");
            let reason = format!("masks are burned in first for `{sources}` only");
            (RawPixels::Yes, reason)
        };
        Self {
            reached,
            reason,
            all: Vec::new(),
        }
    }

    fn reached(&mut self, output: &str, path: &[String]) {
        let mut path = path.to_vec();
        path.push(output.to_owned());
        self.all.push(ExposedOutput {
            output: output.to_owned(),
            raw_pixels: self.reached,
            path,
            reason: self.reason.clone(),
        });
    }

    fn unreached(&mut self, output: &str, reason: &str) {
        self.all.push(ExposedOutput {
            output: output.to_owned(),
            raw_pixels: RawPixels::No,
            path: Vec::new(),
            reason: reason.to_owned(),
        });
    }

    fn of_components(
        &mut self,
        output: &str,
        flow: &Flow<'_>,
        is_open: fn(&Component) -> bool,
        reason: &str,
    ) {
        let mut open = flow.readers.iter().filter(|it| is_open(it.spec)).peekable();
        if open.peek().is_none() {
            self.unreached(output, reason);
        }
        for reader in open {
            self.reached(&format!("{output} of {}", reader.name), &reader.path);
        }
    }
}
