//! Checks a component against its world and the grants of its release.
use hotshoe_devkit::InterfaceError;
use hotshoe_trust::{
    CapabilityError, GOVERNOR, Grant, Need, PIPELINE, WASI_NN, World, check_imports, need,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use thiserror::Error;

mod types;

/// The interface of a component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surface {
    /// The imported interfaces, in the component's order.
    pub imports: Vec<String>,
    /// The exported interfaces.
    pub exports: Vec<String>,
    /// The needed grants, each with the interfaces that need it.
    pub needs: BTreeMap<Grant, Vec<String>>,
}

/// A problem of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It is not encoded as a component.
    CoreModule,
    /// It is not WebAssembly, or damaged.
    Unreadable(String),
    /// It lacks the export of its world.
    MissingExport {
        /// The world.
        world: World,
        /// The interface, in each supported version.
        export: String,
        /// What it exports instead.
        found: Vec<String>,
    },
    /// It uses an unsupported version of an interface of Hotshoe or `wasi:nn`.
    Version {
        /// `imports` or `exports`.
        way: &'static str,
        /// The interface, as the component names it.
        interface: String,
        /// The supported versions.
        served: String,
    },
    /// It has an import that Hotshoe does not support.
    UnknownImport(String),
    /// It imports a function that the interface does not have.
    UnknownFunction {
        /// The interface.
        interface: String,
        /// The function.
        function: String,
    },
    /// Its types differ from those of the WIT files.
    Types(String),
    /// It has an import that the release does not grant.
    NotGranted {
        /// The grant.
        grant: Grant,
        /// The interfaces that need it.
        imports: Vec<String>,
    },
}

impl Problem {
    /// The stable name, in snake case.
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
                "it is a core module, not a component: its bindings are missing, or it must be encoded with `wasm-tools component new`",
            ),
            Self::Unreadable(why) => write!(f, "not readable WebAssembly: {why}"),
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
                    "it does not export {export}, which the world `{world}` requires; it exports {found}"
                )
            }
            Self::Version {
                way,
                interface,
                served,
            } => write!(
                f,
                "it {way} {interface}, but this hotshoe supports {served}; write the matching WIT files with `hotshoe wit --vendor wit`, and build it with them"
            ),
            Self::UnknownImport(import) => write!(
                f,
                "it imports {import}, which no device supports, whatever its grants; check whether it was built for another host"
            ),
            Self::UnknownFunction {
                interface,
                function,
            } => write!(
                f,
                "it imports `{function}` of {interface}, which this hotshoe does not have; write the matching WIT files with `hotshoe wit --vendor wit`"
            ),
            Self::Types(why) => write!(
                f,
                "its types differ from those of the WIT files; write the matching ones with `hotshoe wit --vendor wit` ({why})"
            ),
            Self::NotGranted { grant, imports } => write!(
                f,
                "it imports {}, which needs the grant `{grant}`",
                imports.join(", ")
            ),
        }
    }
}

/// All problems of a component.
#[derive(Debug, Error)]
#[error("{component} does not fit:{}", list(problems, advice))]
pub struct CheckError {
    /// The component's name.
    pub component: String,
    /// The problems, at least one.
    pub problems: Vec<Problem>,
    /// The line of the `release.toml` that would grant what is missing.
    pub advice: Option<String>,
}

fn list(problems: &[Problem], advice: &Option<String>) -> String {
    let lines = problems.iter().map(|problem| format!("\n  - {problem}"));
    let advice = advice.iter().map(|line| format!("\n  To allow it: {line}"));
    lines.chain(advice).collect()
}

impl CheckError {
    /// The stable name of the first problem.
    pub fn name(&self) -> &'static str {
        self.problems.first().map_or("misfit", Problem::name)
    }
}

/// Reads the interface of a component, and finds all problems except missing grants.
pub fn check(component: &[u8], world: World) -> (Surface, Vec<Problem>) {
    let names = match hotshoe_devkit::interface(component) {
        Ok(names) => names,
        Err(InterfaceError::Module) => return (Surface::default(), vec![Problem::CoreModule]),
        Err(InterfaceError::Unreadable(error)) => {
            let why = error.to_string();
            return (Surface::default(), vec![Problem::Unreadable(why)]);
        }
        Err(error @ InterfaceError::Nesting) => {
            let why = error.to_string();
            return (Surface::default(), vec![Problem::Unreadable(why)]);
        }
    };
    let mut problems = Vec::new();
    let mut needs: BTreeMap<Grant, Vec<String>> = BTreeMap::new();
    for import in &names.imports {
        match need(import) {
            Need::Nothing => {}
            Need::Grant(grant) => needs.entry(grant).or_default().push(import.clone()),
            Need::Unknown => problems.push(match served(import) {
                Some(served) => Problem::Version {
                    way: "imports",
                    interface: import.clone(),
                    served,
                },
                None => Problem::UnknownImport(import.clone()),
            }),
        }
    }
    let export = export_in(&names.exports, world);
    if export.is_none() {
        problems.push(missing_export(&names.exports, world));
    }
    let surface = Surface {
        imports: names.imports,
        exports: names.exports,
        needs,
    };
    // Types of other versions always differ, so do not report them too.
    if let (true, Some(export)) = (problems.is_empty(), export) {
        problems = types::problems(component, &surface, &export);
    }
    (surface, problems)
}

/// The missing grants of a component, and the line of `release.toml` with all grants that it needs.
pub fn not_granted(
    name: &str,
    surface: &Surface,
    grants: &BTreeSet<Grant>,
) -> Option<(Vec<Problem>, String)> {
    let imports: Vec<&str> = surface
        .needs
        .values()
        .flatten()
        .map(String::as_str)
        .collect();
    let Err(CapabilityError::NotGranted { line, .. }) = check_imports(name, &imports, grants)
    else {
        return None;
    };
    let missing = surface
        .needs
        .iter()
        .filter(|(grant, _)| !grants.contains(*grant));
    let problems = missing.map(|(grant, imports)| Problem::NotGranted {
        grant: *grant,
        imports: imports.clone(),
    });
    Some((problems.collect(), line))
}

/// The interface of the world among the exports, in the oldest of the supported versions.
fn export_in(exports: &[String], world: World) -> Option<String> {
    world.exports().find(|export| exports.contains(export))
}

fn missing_export(exports: &[String], world: World) -> Problem {
    let interface = |name: &str| name.split('@').next().map(str::to_owned);
    let other = exports
        .iter()
        .find(|found| world.exports().any(|it| interface(&it) == interface(found)));
    match other {
        Some(other) => Problem::Version {
            way: "exports",
            interface: other.clone(),
            served: match world {
                World::Governor => GOVERNOR,
                _ => PIPELINE,
            }
            .versions_text(),
        },
        None => Problem::MissingExport {
            world,
            export: world.exports_text(),
            found: exports.to_vec(),
        },
    }
}

/// The supported versions of an interface that this import names in another version.
fn served(import: &str) -> Option<String> {
    let (name, _) = import.split_once('@').unwrap_or((import, ""));
    let package = name.split_once('/')?.0;
    let contract = [PIPELINE, WASI_NN]
        .into_iter()
        .find(|contract| contract.package == package)?;
    let oldest = need(&format!("{name}@{}", contract.oldest));
    (oldest != Need::Unknown).then(|| contract.versions_text())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn another_version_is_distinguished_from_an_unknown_interface() {
        let both = Some("0.1.0 and 0.2.0".to_owned());
        assert_eq!(served("hotshoe:pipeline/log@0.3.0"), both);
        assert_eq!(served("hotshoe:pipeline/log"), both);
        assert_eq!(served("hotshoe:pipeline/samples@0.9.0"), both);
        assert_eq!(served("hotshoe:pipeline/camera@0.2.0"), None);
        assert_eq!(served("wasi:nn/graph@0.2.0"), Some(WASI_NN.versions_text()));
        assert_eq!(served("wasi:cli/stdout@0.3.0"), None);
        assert_eq!(served("log"), None);
    }

    #[test]
    fn every_missing_grant_is_a_problem_and_one_line_grants_all() {
        let data = PIPELINE.interface("data", PIPELINE.oldest);
        let http = "wasi:http/types@0.2.0".to_owned();
        let surface = Surface {
            needs: [
                (Grant::Data, vec![data.clone()]),
                (Grant::WasiHttp, vec![http.clone()]),
            ]
            .into(),
            ..Surface::default()
        };
        let (problems, line) = not_granted("a", &surface, &[Grant::Log].into()).unwrap();
        let said: Vec<_> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(
            said,
            [
                format!("it imports {data}, which needs the grant `data`"),
                format!("it imports {http}, which needs the grant `wasi-http`"),
            ]
        );
        // HTTP needs WASI's streams.
        assert_eq!(line, r#"grants = ["log", "data", "wasi", "wasi-http"]"#);
        let enough = [Grant::Data, Grant::Wasi, Grant::WasiHttp].into();
        assert_eq!(not_granted("a", &surface, &enough), None);
    }
}
