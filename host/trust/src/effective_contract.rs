//! The data contract that applies on a device: that of a release, within the bounds of the operator.

use std::collections::BTreeMap;

use crate::{
    access::Access,
    data_bounds::DataBounds,
    data_class::{DataClass, Upload},
    data_contract::{DEFAULT_CLASS, DataContractError, OutputName, RecordKind},
    release::{Component, Grant, Release, Step, World},
};

/// Stages of samples that are not valid for the first step, and of tensors that are no valid result: their errors quote both.
const OWN_STAGES: [(&str, Reads); 2] = [
    ("input", Reads::Pictures),
    ("output", Reads::PicturesAndInsights),
];

/// A class with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedClass {
    /// The name; of joined classes, that of the one with the stricter `upload`.
    pub name: String,
    /// The class.
    pub class: DataClass,
}

impl NamedClass {
    /// The stricter of both.
    #[must_use]
    pub fn join(self, other: &Self) -> Self {
        let class = self.class.join(&other.class);
        let name = if other.class.upload < self.class.upload {
            other.name.clone()
        } else {
            self.name
        };
        Self { name, class }
    }
}

/// What a part of the pipeline reads, or makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// Filters, preprocessors and models.
    Pictures,
    /// Postprocessors and stages, which make the insight.
    PicturesAndInsights,
    /// Policies.
    Insights,
    /// Governors: figures of the device, and what their grants let them read. No sample, and nothing that is made of one.
    Device,
}

impl Reads {
    /// What two parts read that have one name, such as a model and a policy.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Device, other) | (other, Self::Device) => other,
            (one, other) if one == other => one,
            _ => Self::PicturesAndInsights,
        }
    }
}

/// The class of every output of a release on a device.
///
/// What is made of data has at least the class of that data, with one exception: a class that the contract gives to the insight, or to
/// texts of components that read pictures, need not be as strict as that of pictures, since the signers say so by naming it.
#[derive(Debug, Clone)]
pub struct EffectiveContract {
    classes: BTreeMap<String, DataClass>,
    outputs: BTreeMap<OutputName, String>,
    reads: BTreeMap<String, Reads>,
}

impl EffectiveContract {
    /// The contract of a release, or of a device without one, within the bounds.
    pub fn of(release: Option<&Release>, bounds: &DataBounds) -> Self {
        let contract = release.map(|release| release.data_contract.clone());
        let contract = contract.unwrap_or_default();
        let mut classes = contract.classes;
        classes.entry(DEFAULT_CLASS.to_owned()).or_default();
        for (name, class) in &mut classes {
            *class = bounds.bound(name, class);
        }
        let steps = release.map_or(&[][..], |release| &release.pipeline);
        let own = OWN_STAGES.map(|(stage, reads)| (stage.to_owned(), reads));
        let reads = steps.iter().map(|step| match step {
            Step::Filter { component } | Step::Preprocess { component } => {
                (component.clone(), Reads::Pictures)
            }
            Step::Infer { model } => (model.clone(), Reads::Pictures),
            Step::Postprocess { component } | Step::Stage { component } => {
                (component.clone(), Reads::PicturesAndInsights)
            }
            Step::Policy { component, .. } => (component.clone(), Reads::Insights),
        });
        let components = release.into_iter().flat_map(|it| &it.components);
        let governors = components.filter(|(_, spec)| spec.world == World::Governor);
        let governors = governors.map(|(name, _)| (name.clone(), Reads::Device));
        let mut by_name: BTreeMap<String, Reads> = BTreeMap::new();
        for (name, reads) in own.into_iter().chain(governors).chain(reads) {
            let entry = by_name.entry(name).or_insert(reads);
            *entry = entry.join(reads);
        }
        Self {
            classes,
            outputs: contract.outputs,
            reads: by_name,
        }
    }

    /// The class of this name. An unknown one lets nothing leave; `validate` has refused such a release.
    fn class(&self, name: &str) -> NamedClass {
        let strictest = || DataClass {
            upload: Upload::Never,
            ..DataClass::default()
        };
        NamedClass {
            name: name.to_owned(),
            class: self.classes.get(name).cloned().unwrap_or_else(strictest),
        }
    }

    fn named(&self, output: &OutputName) -> Option<NamedClass> {
        self.outputs.get(output).map(|name| self.class(name))
    }

    fn of_output(&self, output: &OutputName) -> NamedClass {
        self.named(output)
            .unwrap_or_else(|| self.class(DEFAULT_CLASS))
    }

    /// The class of samples, and of the tensors that are made of them.
    pub fn picture(&self) -> NamedClass {
        self.of_output(&OutputName::Picture)
    }

    /// The class of the insight.
    pub fn insight(&self) -> NamedClass {
        self.named(&OutputName::Insight)
            .unwrap_or_else(|| self.class(DEFAULT_CLASS).join(&self.picture()))
    }

    /// The class of what policies decide.
    pub fn action(&self) -> NamedClass {
        self.of_output(&OutputName::Action).join(&self.insight())
    }

    /// The class of messages under a topic.
    pub fn topic(&self, topic: &str) -> NamedClass {
        self.named(&OutputName::Topic(topic.to_owned()))
            .unwrap_or_else(|| self.of_output(&OutputName::Custom))
            .join(&self.insight())
    }

    /// The class of a recording of this kind.
    pub fn recording(&self, kind: RecordKind) -> NamedClass {
        let read = match kind {
            RecordKind::Sample | RecordKind::Tensors => self.picture(),
            RecordKind::Insight => self.insight(),
        };
        self.of_output(&OutputName::Recording).join(&read)
    }

    /// The class of errors, log lines or metrics of a component or model of the pipeline, of its ends `input` and `output`, and of a
    /// governor. `None` for another name: the host's other parts say nothing about data.
    pub fn text(&self, output: &OutputName, stage: &str) -> Option<NamedClass> {
        let reads = *self.reads.get(stage)?;
        let named = self.named(output);
        let of_pictures = || self.class(DEFAULT_CLASS).join(&self.picture());
        Some(match reads {
            Reads::Pictures => named.unwrap_or_else(of_pictures),
            Reads::PicturesAndInsights => named.unwrap_or_else(of_pictures).join(&self.insight()),
            Reads::Insights => named
                .unwrap_or_else(|| self.class(DEFAULT_CLASS))
                .join(&self.insight()),
            Reads::Device => named.unwrap_or_else(|| self.class(DEFAULT_CLASS)),
        })
    }

    /// The class of what a runtime says about the tensors of a model, which a step or a component may run.
    pub fn model_text(&self, model: &str) -> NamedClass {
        let of_components = || self.picture().join(&self.insight());
        self.text(&OutputName::Error, model)
            .unwrap_or_else(of_components)
    }

    /// Refuses a component that could pass on what may not leave as it is, where the host cannot see it: to a host, or in a folder.
    ///
    /// # Errors
    /// [`DataContractError::WayOut`] names component, grant and class.
    pub fn check_ways_out(&self, release: &Release) -> Result<(), DataContractError> {
        for (component, reads) in &self.reads {
            let spec = release.components.get(component);
            let Some(grant) = spec.and_then(way_out) else {
                continue;
            };
            let read = match reads {
                Reads::Pictures => self.picture(),
                Reads::PicturesAndInsights => self.picture().join(&self.insight()),
                Reads::Insights => self.insight(),
                Reads::Device => self.class(DEFAULT_CLASS),
            };
            if read.class.upload != Upload::Yes {
                return Err(DataContractError::WayOut {
                    component: component.clone(),
                    grant,
                    class: read.name,
                });
            }
        }
        Ok(())
    }
}

/// What lets a component pass data on where the host cannot see it.
fn way_out(component: &Component) -> Option<String> {
    let network = [Grant::WasiHttp, Grant::WasiSockets].into_iter();
    let mut network = network.filter(|grant| component.grants.contains(grant));
    if let (Some(grant), false) = (network.next(), component.hosts.is_empty()) {
        return Some(format!("the grant `{grant}`"));
    }
    let mut folders = component.folders.iter();
    let written = folders.find(|(_, access)| **access == Access::Write)?;
    Some(format!("the folder `{}` to write to", written.0))
}
