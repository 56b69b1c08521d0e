//! The templates of one language: created like `hotshoe new`, built like `hotshoe build`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_author::manifest::{FILE, Manifest};
use hotshoe_author::{Language, RustTarget, Tools, build, new_project};
use hotshoe_devkit::Progress;
use hotshoe_trust::World;

/// A language and how it is compiled.
pub(super) struct Variant {
    /// Its name in the table.
    pub title: &'static str,
    /// Its folder name.
    folder: &'static str,
    language: Language,
    /// Only for Rust.
    target: Option<RustTarget>,
}

impl Variant {
    const fn of(language: Language) -> Self {
        Self {
            title: language.title(),
            folder: language.word(),
            language,
            target: None,
        }
    }
}

/// The variants. The others are compared with the first.
pub(super) const VARIANTS: [Variant; 8] = [
    Variant::of(Language::Rust),
    Variant {
        title: "Rust, wasip2",
        folder: "rust-wasip2",
        language: Language::Rust,
        target: Some(RustTarget::Wasip2),
    },
    Variant::of(Language::C),
    Variant::of(Language::Cpp),
    Variant::of(Language::Go),
    Variant::of(Language::JavaScript),
    Variant::of(Language::TypeScript),
    Variant::of(Language::Python),
];

/// The tasks. Build times are measured with the first.
pub(super) const WORLDS: [World; 4] = [
    World::Policy,
    World::Preprocessor,
    World::Postprocessor,
    World::Stage,
];

/// A text in a message of every language's policy and its replacement, to measure a rebuild.
const EDIT: (&str, &str) = ("rules, line", "rules: line");

/// The four components of a language.
pub(super) struct BuiltTemplates {
    /// The components in the order of [`WORLDS`].
    pub components: Vec<Component>,
    /// The time of the first build of a new project, with its tools installed.
    pub first_build: Duration,
    /// The time of the next build, after a change in the sources.
    pub next_build: Duration,
}

/// A built component.
pub(super) struct Component {
    /// The `release.toml` of its project.
    pub manifest: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Creates and builds all four below `folder`.
pub(super) fn make(
    variant: &Variant,
    folder: &Path,
    tools: &Tools,
    progress: &Progress,
) -> anyhow::Result<BuiltTemplates> {
    let folder = folder.join(variant.folder);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", folder.display()));
        }
        _ => {}
    }
    let mut templates = BuiltTemplates {
        components: Vec::new(),
        first_build: Duration::ZERO,
        next_build: Duration::ZERO,
    };
    for world in WORLDS {
        let project = folder.join(world.to_string());
        let manifest = new(variant, world, &project)?;
        let compile = || built(variant, &manifest, &folder, tools, progress);
        let (time, bytes) = compile()?;
        templates.components.push(Component {
            manifest: manifest.clone(),
            bytes,
        });
        if templates.components.len() == 1 {
            templates.first_build = time;
            edit(&project)?;
            templates.next_build = compile()?.0;
        }
    }
    Ok(templates)
}

/// The `release.toml` of a new project.
fn new(variant: &Variant, world: World, project: &Path) -> anyhow::Result<PathBuf> {
    new_project(&format!("bench-{world}"), variant.language, world, project)?;
    let path = project.join(FILE);
    if variant.target == Some(RustTarget::Wasip2) {
        let text = fs::read_to_string(&path)?;
        fs::write(&path, text.replace("grants = [", "grants = [\"wasi\", "))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(path)
}

/// Builds and returns the time and the size of the component.
fn built(
    variant: &Variant,
    manifest: &Path,
    folder: &Path,
    tools: &Tools,
    progress: &Progress,
) -> anyhow::Result<(Duration, u64)> {
    let manifest = Manifest::read(manifest)?;
    let mut jobs = build::jobs(&manifest, variant.target)?;
    let job = jobs.first_mut().context("the template has no source")?;
    if variant.language == Language::Rust {
        // One target folder for all four: dependencies are compiled only in the first build.
        folder.clone_into(&mut job.project.release);
    }
    let started = Instant::now();
    let built = build::build(job, tools, progress)?;
    Ok((started.elapsed(), built.bytes))
}

/// Changes the sources so that the component changes.
fn edit(project: &Path) -> anyhow::Result<()> {
    let mut edited = false;
    for folder in [project.to_owned(), project.join("src")] {
        // Not every language has a source folder.
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            // A file that is not text is not a source.
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            if text.contains(EDIT.0) {
                fs::write(&path, text.replace(EDIT.0, EDIT.1))
                    .with_context(|| format!("cannot write {}", path.display()))?;
                edited = true;
            }
        }
    }
    anyhow::ensure!(
        edited,
        "{} has no `{}` to change",
        project.display(),
        EDIT.0
    );
    Ok(())
}
