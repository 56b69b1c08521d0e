//! The world of the component and its bindings, from the project's WIT files.
use super::MODULE;
use super::text::adapt;
use crate::lang::encode::encode_as;
use crate::lang::world::Interfaces;
use crate::{BuildError, Project};
use hotshoe_trust::World;
use std::path::PathBuf;
use wit_bindgen_core::Files;
use wit_bindgen_go::{Format, Opts};

/// The world's internal name.
const WORLD: &str = "component";

/// A world with all interfaces of the project's WIT files as imports, and the exports of one of Hotshoe's worlds. The component keeps only
/// the imports that its code calls.
pub(super) struct Target {
    interfaces: Interfaces,
    kind: World,
    folder: PathBuf,
}

/// A file of the Go module.
pub(super) struct File {
    /// The path below the module's folder.
    pub(super) path: String,
    pub(super) text: String,
}

impl Target {
    pub(super) fn of(project: &Project) -> Result<Self, BuildError> {
        let folder = project.wit()?;
        let interfaces = Interfaces::read(&folder, project.world, WORLD).map_err(|message| {
            BuildError::Bindings {
                folder: folder.clone(),
                message,
            }
        })?;
        Ok(Self {
            interfaces,
            kind: project.world,
            folder,
        })
    }

    /// The interface that the world exports.
    pub(super) fn export(&self) -> &'static str {
        match self.kind {
            World::Filter => "admit",
            World::Preprocessor => "preprocess",
            World::Postprocessor => "postprocess",
            World::Policy => "decide",
            World::Stage => "process",
            World::Governor => "govern",
        }
    }

    /// The function that the author's package must have, and its signature.
    pub(super) fn function(&self) -> (&'static str, &'static str) {
        match self.kind {
            World::Filter => (
                "Admit",
                "func Admit(sample *samples.Sample) (admit.Verdict, error)",
            ),
            World::Preprocessor => (
                "Prepare",
                "func Prepare(sample *samples.Sample) ([]tensors.NamedTensor, error)",
            ),
            World::Postprocessor => (
                "Interpret",
                "func Interpret(sample *samples.Sample, outputs []tensors.NamedTensor) (types.Insight, error)",
            ),
            World::Policy => (
                "Decide",
                "func Decide(insight types.Insight, device types.DeviceContext) ([]types.Action, error)",
            ),
            World::Stage => (
                "Process",
                "func Process(sample *samples.Sample) (types.Insight, error)",
            ),
            World::Governor => (
                "Govern",
                "func Govern(state govern.DeviceState) (govern.Plan, error)",
            ),
        }
    }

    pub(super) fn bindings(&self) -> Result<Vec<File>, BuildError> {
        let refused = |message: String| BuildError::Bindings {
            folder: self.folder.clone(),
            message,
        };
        let options = Opts {
            // The text is adapted and not meant for people.
            format: Format::False,
            pkg_name: Some(MODULE.to_owned()),
            ..Opts::default()
        };
        let mut files = Files::default();
        options
            .build()
            .generate(
                &mut self.interfaces.resolve.clone(),
                self.interfaces.world,
                &mut files,
            )
            .map_err(|error| refused(format!("{error:#}")))?;
        files
            .iter()
            .map(|(path, bytes)| {
                let text =
                    std::str::from_utf8(bytes).map_err(|error| refused(error.to_string()))?;
                Ok(adapt(path, text))
            })
            .collect()
    }

    /// Encodes Go's output as a component.
    pub(super) fn encode(&self, core: Vec<u8>) -> Result<Vec<u8>, BuildError> {
        encode_as(core, &self.interfaces)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Language, RustTarget};

    #[test]
    fn bindings_of_every_world_need_no_other_module() {
        let folder = tempfile::tempdir().unwrap();
        for world in [
            World::Preprocessor,
            World::Postprocessor,
            World::Policy,
            World::Stage,
        ] {
            let project = Project {
                folder: folder.path().to_owned(),
                name: "component".to_owned(),
                world,
                language: Language::Go,
                target: RustTarget::default(),
                release: folder.path().to_owned(),
                debug: false,
            };
            let target = Target::of(&project).unwrap();
            let files = target.bindings().unwrap();
            let text = |path: &str| {
                let file = files.iter().find(|file| file.path == path);
                file.map(|file| file.text.as_str())
            };
            assert!(text("vision/wit_bindings.go").is_some(), "{world}");
            assert!(text("wasi_nn_graph/wit_bindings.go").is_some(), "{world}");
            let exports = text("wit_exports/wit_exports.go").unwrap();
            let call = format!("export_{}.{}(", target.export(), target.function().0);
            assert!(exports.contains(&call), "{exports}");
            for file in files.iter().filter(|file| file.path.ends_with(".go")) {
                // Text that `text` does not know would stay unchanged.
                for left in [
                    "go.bytecodealliance.org",
                    "unsafe.String(",
                    "unsafe.Slice(",
                    " runtime.",
                    "&runtime.",
                    "&syncExportPinner\n",
                ] {
                    assert!(!file.text.contains(left), "{}: {left}", file.path);
                }
            }
        }
    }
}
