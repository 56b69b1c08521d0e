//! The templates of one language: made as `hotshoe new` makes them, built as `hotshoe build` does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_author::manifest::{FILE, Manifest};
use hotshoe_author::{Language, RustTarget, Tools, build, new_project};
use hotshoe_devkit::Progress;
use hotshoe_trust::World;

/// A language, or a way to compile it.
pub struct Variant {
    /// For people.
    pub title: &'static str,
    /// Its folder among the others.
    folder: &'static str,
    language: Language,
    /// For Rust alone.
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

/// The first is what the others are compared with.
pub const VARIANTS: [Variant; 8] = [
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

/// The tasks. Builds are timed with the first.
pub const WORLDS: [World; 4] = [
    World::Policy,
    World::Preprocessor,
    World::Postprocessor,
    World::Stage,
];

/// A word in every language's policy, in a message alone, and what an author might make of it.
const EDIT: (&str, &str) = ("rules, line", "rules: line");

/// The four components of a language.
pub struct Made {
    /// In the order of [`WORLDS`].
    pub components: Vec<Component>,
    /// The first build of a new project, with its tools there.
    pub first_build: Duration,
    /// The next one, after a change in the sources.
    pub next_build: Duration,
}

/// One of them.
pub struct Component {
    /// The `release.toml` of its project.
    pub manifest: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Makes and builds all four below `folder`.
pub fn make(
    variant: &Variant,
    folder: &Path,
    tools: &Tools,
    progress: &Progress,
) -> anyhow::Result<Made> {
    let folder = folder.join(variant.folder);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", folder.display()));
        }
        _ => {}
    }
    let mut made = Made {
        components: Vec::new(),
        first_build: Duration::ZERO,
        next_build: Duration::ZERO,
    };
    for world in WORLDS {
        let project = folder.join(world.to_string());
        let manifest = new(variant, world, &project)?;
        let compile = || built(variant, &manifest, &folder, tools, progress);
        let (time, bytes) = compile()?;
        made.components.push(Component {
            manifest: manifest.clone(),
            bytes,
        });
        if made.components.len() == 1 {
            made.first_build = time;
            edit(&project)?;
            made.next_build = compile()?.0;
        }
    }
    Ok(made)
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

/// How long a build takes, and the size of what it makes.
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
        // One folder of cargo's for all four: what they depend on is compiled in the first build alone.
        folder.clone_into(&mut job.project.release);
    }
    let started = Instant::now();
    let built = build::build(job, tools, progress)?;
    Ok((started.elapsed(), built.bytes))
}

/// Changes the sources as an author does: the component is another one afterwards.
fn edit(project: &Path) -> anyhow::Result<()> {
    let mut edited = false;
    for folder in [project.to_owned(), project.join("src")] {
        // Not every language has a folder of sources.
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            // What is no text is no source.
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
