use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_author::embedded::{self, File, WIT};
use hotshoe_trust::{PIPELINE, World};
use serde::Serialize;

use super::new::world;
use hotshoe_release::terminal::Terminal;

/// Show the interfaces that components use
///
/// Prints the WIT files that this version supports, with their documentation, or writes them into a folder for a build tool. The files
/// of the oldest version come first; those of a later version are in a folder named after it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: the exports and imports of a policy
  hotshoe wit --world policy

Example: update the interfaces of a project
  hotshoe wit --vendor my-policy/wit")]
pub(crate) struct Args {
    /// Only the parts for this world: filter, preprocessor, postprocessor, policy, stage or governor
    #[arg(long, value_name = "WORLD", value_parser = any_world, conflicts_with = "vendor")]
    world: Option<World>,
    /// Write the files into this folder; other files in it stay
    #[arg(long, value_name = "DIR")]
    vendor: Option<PathBuf>,
}

/// A WIT file, for JSON.
#[derive(Serialize)]
struct Wit<'a> {
    path: &'a str,
    text: &'a str,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let mut files = embedded::files(&WIT, "");
    // The version that the SDKs use comes first.
    files.sort_by_key(|file| name(file.path) != file.path);
    if let Some(folder) = args.vendor {
        embedded::write(&WIT, "", &folder)
            .with_context(|| format!("cannot write the WIT files into {}", folder.display()))?;
        if terminal.json {
            let paths: Vec<&str> = files.iter().map(|file| file.path).collect();
            terminal.json(&paths)?;
        } else {
            terminal.print(format!("{} files in {}", files.len(), folder.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown = Vec::new();
    for file in &files {
        let text = text(file)?;
        let text = match args.world {
            Some(world) if name(file.path) == WORLDS => of_world(text, world),
            Some(world) if !may_use(name(file.path), world) => continue,
            _ => text.to_owned(),
        };
        shown.push((file.path, text));
    }
    if terminal.json {
        let all: Vec<Wit> = shown
            .iter()
            .map(|(path, text)| Wit { path, text })
            .collect();
        terminal.json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (path, text) in shown {
        terminal.print(terminal.bold(&format!("// {path}")))?;
        terminal.print(text.trim_end())?;
        terminal.print("")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Parses the name of a world, of those without a template, too.
fn any_world(word: &str) -> Result<World, String> {
    let others = [World::Filter, World::Governor];
    let found = others.into_iter().find(|world| world.to_string() == word);
    found.map_or_else(
        || {
            let names = others.map(|world| world.to_string()).join(", ");
            world(word).map_err(|message| format!("{message}, {names}"))
        },
        Ok,
    )
}

/// The file with the worlds and their exports.
const WORLDS: &str = "worlds.wit";

/// The folder of the package that only governors use.
const GOVERNOR: &str = "governor/";

/// The path without the folder of a later version.
fn name(path: &str) -> &str {
    let mut later = PIPELINE.later.iter();
    later
        .find_map(|version| path.strip_prefix(*version)?.strip_prefix('/'))
        .unwrap_or(path)
}

fn text(file: &File) -> anyhow::Result<&'static str> {
    std::str::from_utf8(file.contents).with_context(|| format!("{} is not UTF-8", file.path))
}

/// Whether the world may use the file. A policy uses neither samples nor tensors.
fn may_use(path: &str, world: World) -> bool {
    match world {
        World::Policy => path == "types.wit" || path == "host.wit",
        World::Governor => path == "host.wit" || path.starts_with(GOVERNOR),
        _ => !path.starts_with(GOVERNOR),
    }
}

/// The blocks of the worlds file that one world needs: its own, its interface and `imports`.
fn of_world(text: &str, world: World) -> String {
    let interface = match world {
        World::Filter => "admit",
        World::Preprocessor => "preprocess",
        World::Postprocessor => "postprocess",
        World::Policy => "decide",
        World::Stage => "process",
        World::Governor => "govern",
    };
    let wanted = [
        format!("interface {interface} {{"),
        "world imports {".to_owned(),
        format!("world {world} {{"),
    ];
    let blocks = text.split("\n\n").scan(false, |inside, block| {
        let begins = |kind: &str| block.lines().any(|line| line.starts_with(kind));
        if begins("interface ") || begins("world ") {
            *inside = block
                .lines()
                .any(|line| wanted.iter().any(|wanted| line == wanted));
        } else if begins("package ") {
            *inside = true;
        } else if begins("//") {
            *inside = false;
        }
        Some(inside.then_some(block))
    });
    blocks.flatten().collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_world_is_shown_with_its_interface_and_without_the_others() {
        let file = embedded::files(&WIT, "")
            .into_iter()
            .find(|file| file.path == WORLDS)
            .map(|file| text(&file).unwrap_or_default())
            .unwrap_or_default();
        let shown = of_world(file, World::Policy);
        for wanted in [
            "package hotshoe:pipeline@",
            "interface decide {",
            "decide: func(",
            "world imports {",
            "world policy {",
        ] {
            assert!(shown.contains(wanted), "{wanted} in {shown}");
        }
        for other in ["interface process {", "world stage {", "Two more things"] {
            assert!(!shown.contains(other), "{other} in {shown}");
        }
    }

    #[test]
    fn governors_have_a_package_of_their_own_and_filters_a_world_of_0_2_0() {
        let paths = |world| -> Vec<&str> {
            let files = embedded::files(&WIT, "").into_iter();
            let used = files.filter(|file| may_use(name(file.path), world));
            used.map(|file| file.path).collect()
        };
        let own = "governor/governor.wit";
        assert!(paths(World::Governor).contains(&own));
        assert!(paths(World::Governor).contains(&"host.wit"));
        for world in [World::Filter, World::Policy, World::Stage] {
            assert!(!paths(world).contains(&own), "{world}");
        }
        assert_eq!(any_world("governor"), Ok(World::Governor));
        assert_eq!(any_world("stage"), Ok(World::Stage));
        let refused = any_world("gouvernor").unwrap_err();
        assert!(refused.ends_with("stage, filter, governor"), "{refused}");
    }
}
