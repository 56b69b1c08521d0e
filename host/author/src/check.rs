//! Does a component fit its world, and does it ask for no more than its release grants?
use hotshoe_devkit::InterfaceError;
use hotshoe_trust::{Grant, World};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use thiserror::Error;

mod types;

/// The version of our package that this program serves.
const VERSION: &str = "0.1.0";
const PACKAGE: &str = "hotshoe:pipeline";
/// The one version of `wasi:nn` that is served.
const NN_VERSION: &str = "0.2.0-rc-2024-10-28";

/// What a component is like, seen from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surface {
    /// The interfaces that it imports, in its own order.
    pub imports: Vec<String>,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// The grants that its imports need, each with the interfaces that need it.
    pub needs: BTreeMap<String, Vec<String>>,
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Not encoded as a component.
    CoreModule,
    /// Not WebAssembly, or damaged.
    Unreadable(String),
    /// It lacks what its world asks for.
    MissingExport {
        /// The world.
        world: World,
        /// The interface.
        export: String,
        /// What it exports instead.
        found: Vec<String>,
    },
    /// An interface of ours, or of `wasi:nn`, in a version that is not served.
    Version {
        /// `imports` or `exports`.
        way: &'static str,
        /// As the component names it.
        interface: String,
        /// The version that is served.
        served: &'static str,
    },
    /// An import that no host of ours serves.
    UnknownImport(String),
    /// A function of one of our interfaces that there is not.
    UnknownFunction {
        /// The interface.
        interface: String,
        /// The function.
        function: String,
    },
    /// Types that differ from ours.
    Types(String),
    /// An import that the release does not grant.
    NotGranted {
        /// The grant.
        grant: String,
        /// The interfaces that need it.
        imports: Vec<String>,
    },
}

impl Problem {
    /// A stable word for scripts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CoreModule => "core_module",
            Self::Unreadable(_) => "not_a_component",
            Self::MissingExport { .. } => "missing_export",
            Self::Version { .. } => "wrong_version",
            Self::UnknownImport(_) => "unknown_import",
            Self::UnknownFunction { .. } | Self::Types(_) => "wrong_types",
            Self::NotGranted { .. } => "not_granted",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CoreModule => f.write_str(
                "it is a core module, not a component: its bindings are missing, or it was not encoded (`wasm-tools component new`)",
            ),
            Self::Unreadable(why) => write!(f, "it is no WebAssembly that can be read: {why}"),
            Self::MissingExport {
                world,
                export,
                found,
            } => {
                let found = match found.as_slice() {
                    [] => "nothing".to_owned(),
                    names => names.join(", "),
                };
                write!(
                    f,
                    "it does not export {export}, which is what the world `{world}` is; it exports {found}"
                )
            }
            Self::Version {
                way,
                interface,
                served,
            } => write!(
                f,
                "it {way} {interface}, but this hotshoe serves {served}; `hotshoe wit --vendor wit` writes the WIT files that fit, build it with them"
            ),
            Self::UnknownImport(import) => write!(
                f,
                "it imports {import}, which no device serves, whatever is granted; is it built for another host?"
            ),
            Self::UnknownFunction {
                interface,
                function,
            } => write!(
                f,
                "it asks {interface} for `{function}`, which this hotshoe does not have there; `hotshoe wit --vendor wit` writes the WIT files that fit"
            ),
            Self::Types(why) => write!(
                f,
                "its types are others than those of the WIT files; `hotshoe wit --vendor wit` writes the ones that fit ({why})"
            ),
            Self::NotGranted { grant, imports } => write!(
                f,
                "it imports {}, which needs the grant `{grant}`",
                imports.join(", ")
            ),
        }
    }
}

/// Everything that does not fit, at once.
#[derive(Debug, Error)]
#[error("{component} does not fit:{}", list(problems, advice))]
pub struct CheckError {
    /// The component's name.
    pub component: String,
    /// At least one.
    pub problems: Vec<Problem>,
    /// The line of the `release.toml` that would allow what is not granted.
    pub advice: Option<String>,
}

fn list(problems: &[Problem], advice: &Option<String>) -> String {
    let lines = problems.iter().map(|problem| format!("\n  - {problem}"));
    let advice = advice.iter().map(|line| format!("\n  To allow it: {line}"));
    lines.chain(advice).collect()
}

impl CheckError {
    /// A stable word for scripts: that of the first problem.
    pub fn name(&self) -> &'static str {
        self.problems.first().map_or("misfit", Problem::name)
    }
}

/// The interface that a component of this world exports.
pub fn export_of(world: World) -> String {
    let interface = match world {
        World::Preprocessor => "preprocess",
        World::Postprocessor => "postprocess",
        World::Policy => "decide",
        World::Stage => "process",
    };
    format!("{PACKAGE}/{interface}@{VERSION}")
}

/// Looks at a component from outside: what it is like, and all that does not fit, whatever it may be granted.
pub fn check(component: &[u8], world: World) -> (Surface, Vec<Problem>) {
    let names = match hotshoe_devkit::interface(component) {
        Ok(names) => names,
        Err(InterfaceError::Module) => return (Surface::default(), vec![Problem::CoreModule]),
        Err(InterfaceError::Unreadable(error)) => {
            return (
                Surface::default(),
                vec![Problem::Unreadable(error.to_string())],
            );
        }
    };
    let mut problems = Vec::new();
    let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for import in &names.imports {
        match need(import) {
            Need::Nothing => {}
            Need::Grant(grant) => needs
                .entry(grant.to_string())
                .or_default()
                .push(import.clone()),
            Need::Version(served) => problems.push(Problem::Version {
                way: "imports",
                interface: import.clone(),
                served,
            }),
            Need::Unknown => problems.push(Problem::UnknownImport(import.clone())),
        }
    }
    problems.extend(missing_export(&names.exports, world));
    let surface = Surface {
        imports: names.imports,
        exports: names.exports,
        needs,
    };
    // Types of other versions differ for certain; to say so again would help nobody.
    if problems.is_empty() {
        problems = types::problems(component, &surface, &export_of(world));
    }
    (surface, problems)
}

/// The problems of a component that needs more than it is granted.
pub fn not_granted(surface: &Surface, grants: &BTreeSet<Grant>) -> Vec<Problem> {
    let is_granted = |name: &String| grants.iter().any(|grant| grant.to_string() == *name);
    let missing = surface.needs.iter().filter(|(name, _)| !is_granted(name));
    missing
        .map(|(grant, imports)| Problem::NotGranted {
            grant: grant.clone(),
            imports: imports.clone(),
        })
        .collect()
}

fn missing_export(exports: &[String], world: World) -> Option<Problem> {
    let export = export_of(world);
    if exports.contains(&export) {
        return None;
    }
    let interface = |name: &str| name.split('@').next().map(str::to_owned);
    let other = exports
        .iter()
        .find(|found| interface(found) == interface(&export));
    Some(match other {
        Some(other) => Problem::Version {
            way: "exports",
            interface: other.clone(),
            served: VERSION,
        },
        None => Problem::MissingExport {
            world,
            export,
            found: exports.to_vec(),
        },
    })
}

/// What an imported interface needs.
enum Need {
    Nothing,
    Grant(Grant),
    /// Another version, which is the one named here.
    Version(&'static str),
    Unknown,
}

fn need(import: &str) -> Need {
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    let Some((package, interface)) = name.split_once('/') else {
        return Need::Unknown;
    };
    match package {
        PACKAGE => {
            let need = match interface {
                "types" | "samples" | "tensors" => Need::Nothing,
                "log" => Need::Grant(Grant::Log),
                "metrics" => Need::Grant(Grant::Metrics),
                "clock" => Need::Grant(Grant::Clock),
                "config" => Need::Grant(Grant::Config),
                "data" => Need::Grant(Grant::Data),
                "state" => Need::Grant(Grant::State),
                "vision" => Need::Grant(Grant::Vision),
                "infer" => Need::Grant(Grant::Infer),
                _ => return Need::Unknown,
            };
            if version == VERSION {
                need
            } else {
                Need::Version(VERSION)
            }
        }
        "wasi:nn" if version == NN_VERSION => Need::Grant(Grant::WasiNn),
        "wasi:nn" => Need::Version(NN_VERSION),
        _ if !version.starts_with("0.2.") => Need::Unknown,
        "wasi:cli" | "wasi:clocks" | "wasi:filesystem" | "wasi:io" | "wasi:random" => {
            Need::Grant(Grant::Wasi)
        }
        "wasi:sockets" => Need::Grant(Grant::WasiSockets),
        "wasi:http" => Need::Grant(Grant::WasiHttp),
        _ => Need::Unknown,
    }
}
