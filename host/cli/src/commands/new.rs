use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hotshoe_author::{Language, new_in_release, new_project};
use hotshoe_trust::World;
use serde::Serialize;

use hotshoe_release::terminal::Terminal;

/// Create a component project
///
/// Creates a folder that builds and passes its test at once: the sources of a small, complete component, the SDK and the WIT files, a
/// sample with its expected result, a release.toml, and a one-page README. With --into, adds the component to an existing release.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Worlds:
  preprocessor   a sample -> a model's inputs
  postprocessor  a model's outputs -> an insight
  policy         an insight -> actions: publish, drop, alert, send
  stage          a sample -> an insight, for logic that runs models by itself

Example: a stage, which turns a picture into an insight
  hotshoe new look --lang python --world stage
  cd look
  hotshoe build
  hotshoe test

Example: a policy
  hotshoe new count-people --lang python --world policy

Example: one more component for a release, in my-release/count-people
  hotshoe new count-people --lang python --world policy --into my-release")]
pub(crate) struct Args {
    /// The component's name: lower-case letters, digits and hyphens
    #[arg(value_name = "NAME")]
    name: String,
    /// The language: rust, c, cpp, python, js, ts or go
    #[arg(long, value_name = "LANGUAGE", value_parser = language)]
    lang: Language,
    /// The world: preprocessor, postprocessor, policy or stage
    #[arg(long, value_name = "WORLD", value_parser = world)]
    world: World,
    /// The folder to create, or an empty one [default: the name]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Add the component to the release.toml in this folder, with its sources in a new folder NAME there
    #[arg(long, value_name = "RELEASE_FOLDER", conflicts_with = "dir")]
    into: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    name: &'a str,
    language: Language,
    world: World,
    folder: &'a Path,
    files: &'a [PathBuf],
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let is_added = args.into.is_some();
    let (folder, files, shared) = match args.into {
        Some(release) => {
            let added = new_in_release(&args.name, args.lang, args.world, &release)?;
            (release, added.files, added.shared)
        }
        None => {
            let folder = args.dir.unwrap_or_else(|| PathBuf::from(&args.name));
            let files = new_project(&args.name, args.lang, args.world, &folder)?;
            (folder, files, Vec::new())
        }
    };
    if terminal.json {
        terminal.json(&Report {
            name: &args.name,
            language: args.lang,
            world: args.world,
            folder: &folder,
            files: &files,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let title = terminal.bold(&args.name);
    terminal.print(format!(
        "{title}: a {} in {}",
        args.world,
        args.lang.title()
    ))?;
    // Below the folder of the component, where it is added to a release.
    let copies = |path: &&PathBuf| {
        let path = path.strip_prefix(&args.name).unwrap_or(path);
        path.starts_with("wit") || path.starts_with("hotshoe-sdk")
    };
    for path in files.iter().filter(|path| !copies(path)) {
        terminal.print(format!("  {}", path.display()))?;
    }
    let copied = files.iter().filter(copies).count();
    terminal.print(terminal.dim(&format!("  wit, hotshoe-sdk: {copied} files of the SDK")))?;
    for table in shared {
        terminal.print(format!(
            "  {table}: release.toml already has it; both components use it"
        ))?;
    }
    if is_added
        && args.world != World::Policy
        && let Some(step) = step(args.world)
    {
        terminal.print(format!(
            "\nTo run it, add a [[pipeline]] entry with `{} = \"{}\"` to {}",
            step,
            args.name,
            folder.join("release.toml").display()
        ))?;
    }
    terminal.print("\nNext:")?;
    if folder != Path::new(".") {
        terminal.print(format!("  cd {}", folder.display()))?;
    }
    terminal.print("  hotshoe build\n  hotshoe test")?;
    Ok(ExitCode::SUCCESS)
}

/// The key of a world's step in a pipeline; none for one that makes no pipeline by itself.
pub(super) const fn step(world: World) -> Option<&'static str> {
    Some(match world {
        World::Preprocessor => "preprocess",
        World::Postprocessor => "postprocess",
        World::Policy => "policy",
        World::Stage => "stage",
        World::Filter | World::Governor => return None,
    })
}

fn language(word: &str) -> Result<Language, String> {
    Language::of(word).ok_or_else(|| {
        let words: Vec<&str> = Language::ALL.iter().map(|it| it.word()).collect();
        format!("expected one of {}", words.join(", "))
    })
}

/// Parses the name of a world.
pub(crate) fn world(word: &str) -> Result<World, String> {
    const WORLDS: [World; 4] = [
        World::Preprocessor,
        World::Postprocessor,
        World::Policy,
        World::Stage,
    ];
    WORLDS
        .into_iter()
        .find(|world| world.to_string() == word)
        .ok_or_else(|| {
            format!(
                "expected one of {}",
                WORLDS.map(|it| it.to_string()).join(", ")
            )
        })
}
