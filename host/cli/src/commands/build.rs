use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use hotshoe_author::build::{self, Built, Job};
use hotshoe_author::manifest::{FILE, Manifest};
use hotshoe_author::{Consent, Language, RustTarget, Tools};
use hotshoe_devkit::Progress;
use hotshoe_trust::{Grant, World};
use serde::Serialize;

use super::new::world;
use hotshoe_release::terminal::{Terminal, size};

/// Compile, check and strip components
///
/// Builds every component of DIR/release.toml that has a `source`, and writes its `file`. Detects the language from the files in the
/// folder. Asks before it downloads missing tools, with pip, npm or rustup. Does not write a component that does not fit its world, or
/// needs more than release.toml grants; the error says what to change.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe new count-people --lang rust --world policy
  hotshoe build count-people

Example: keep the names of functions, so that the message of a trap has them
  hotshoe build count-people --debug

Example: a folder of sources without a release.toml, into DIR/build/NAME.wasm
  hotshoe build my-policy --world policy

Compilers are kept in ~/.cache/hotshoe/tools, or in HOTSHOE_TOOLS. Rust's output is kept in .hotshoe beside release.toml, or in
CARGO_TARGET_DIR.")]
pub(crate) struct Args {
    /// The folder of the release.toml, or the file itself
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Download missing tools without asking
    #[arg(long)]
    yes: bool,
    /// Rust's target: unknown (no WASI), or wasip2 [default: unknown]
    #[arg(long, value_name = "TARGET", value_parser = target)]
    target: Option<RustTarget>,
    /// The world of a folder without a release.toml
    #[arg(long, value_name = "WORLD", value_parser = world)]
    world: Option<World>,
    /// Keep the names of functions, so that the message of a trap has them
    #[arg(long)]
    debug: bool,
}

/// A component that was built, for JSON.
#[derive(Serialize)]
struct Component<'a> {
    name: &'a str,
    world: World,
    language: Language,
    file: &'a Path,
    bytes: u64,
    /// Bytes that stripping removed.
    stripped_bytes: u64,
    imports: &'a [String],
    exports: &'a [String],
    /// The grants that the component needs, each with the imports that need it.
    needs: &'a BTreeMap<Grant, Vec<String>>,
}

#[derive(Serialize)]
struct Report<'a> {
    components: Vec<Component<'a>>,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let progress = terminal.progress();
    let tools = tools(args.yes, &progress)?;
    let built = if let Some(world) = args.world {
        let mut job = build::job_of_folder(&args.dir, world, args.target)?;
        job.project.debug = args.debug;
        vec![build::build(&job, &tools, &progress)?]
    } else {
        let manifest = Manifest::read(&release_toml(&args.dir))?;
        build_release(&manifest, args.target, args.debug, &tools, &progress)?
    };
    if terminal.json {
        terminal.json(&Report {
            components: built.iter().map(component).collect(),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    for component in &built {
        print(component, terminal)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The `release.toml` of a folder, or the file itself.
pub(crate) fn release_toml(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join(FILE)
    } else {
        path.to_owned()
    }
}

/// The user's tools. Missing ones are downloaded with `yes`, or if the user agrees at a terminal.
pub(crate) fn tools(yes: bool, progress: &Progress) -> anyhow::Result<Tools> {
    let consent = if yes {
        Consent::Given
    } else if io::stdin().is_terminal() && io::stderr().is_terminal() {
        Consent::Ask(ask)
    } else {
        Consent::NotGiven
    };
    Ok(Tools::of_person(consent, progress)?)
}

/// Builds all components of a `release.toml` that have a `source`.
pub(crate) fn build_release(
    manifest: &Manifest,
    target: Option<RustTarget>,
    debug: bool,
    tools: &Tools,
    progress: &Progress,
) -> anyhow::Result<Vec<Built>> {
    let mut jobs: Vec<Job> = build::jobs(manifest, target)?;
    if jobs.is_empty() {
        bail!(
            "no component of {} has a `source`: add source = \".\" to its table, or give --world for a folder without a release.toml",
            manifest.path.display()
        );
    }
    for job in &mut jobs {
        job.project.debug = debug;
    }
    let built = jobs.iter().map(|job| build::build(job, tools, progress));
    Ok(built.collect::<Result<_, _>>()?)
}

fn ask(question: &str) -> bool {
    let mut error = io::stderr().lock();
    // If the question cannot be shown, the answer is no.
    if write!(error, "{question} [Y/n] ")
        .and_then(|()| error.flush())
        .is_err()
    {
        return false;
    }
    let mut answer = String::new();
    match io::stdin().read_line(&mut answer) {
        // The end of the input is not consent.
        Ok(0) | Err(_) => false,
        Ok(_) => matches!(
            answer.trim().to_ascii_lowercase().as_str(),
            "" | "y" | "yes"
        ),
    }
}

fn component(built: &Built) -> Component<'_> {
    Component {
        name: &built.name,
        world: built.world,
        language: built.language,
        file: &built.file,
        bytes: built.bytes,
        stripped_bytes: built.stripped,
        imports: &built.surface.imports,
        exports: &built.surface.exports,
        needs: &built.surface.needs,
    }
}

fn print(built: &Built, terminal: &Terminal) -> anyhow::Result<()> {
    let title = terminal.bold(&built.name);
    terminal.print(format!(
        "{title}  {} in {}, {}{}",
        built.world,
        built.language.title(),
        size(built.bytes),
        if built.stripped > 0 {
            format!(", {} stripped", size(built.stripped))
        } else {
            String::new()
        }
    ))?;
    terminal.print(format!("  {}", built.file.display()))?;
    let needs: Vec<String> = built.surface.needs.keys().map(Grant::to_string).collect();
    if needs.is_empty() {
        terminal.print("  needs no grants")?;
    } else {
        terminal.print(format!("  needs grants: {}", needs.join(", ")))?;
    }
    for import in &built.surface.imports {
        terminal.print(terminal.dim(&format!("  imports {import}")))?;
    }
    Ok(())
}

fn target(word: &str) -> Result<RustTarget, String> {
    match word {
        "unknown" | "wasm32-unknown-unknown" => Ok(RustTarget::Unknown),
        "wasip2" | "wasm32-wasip2" => Ok(RustTarget::Wasip2),
        _ => Err("expected unknown or wasip2".to_owned()),
    }
}
