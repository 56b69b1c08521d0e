//! In a crate, imports between the folders run one way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::environment;

/// The top-level modules of a crate, each with the others that it names.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn imports_between_the_folders_of_a_crate_run_in_no_circle() {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(environment().root.join("host")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().display().to_string();
        let imports = imports(&folder.join("src"));
        let circles = circles(&imports).into_iter();
        found.extend(circles.map(|circle| format!("{name}: {}", circle.join(" "))));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn imports_are_found_in_groups_and_through_super_and_circles_in_imports() {
    let source = "
use crate::{one::{A, two}, three, Four};
use super::super::five::B; // crate::six
use super::seven;
";
    let found: Vec<String> = named(source, 2).into_iter().collect();
    assert_eq!(found, ["Four", "five", "one", "three"]);
    let edges = [
        ("a", vec!["b"]),
        ("b", vec!["c"]),
        ("c", vec!["a"]),
        ("d", vec!["a"]),
    ];
    let imports = Imports::from(edges.map(|(from, to)| {
        let to = to.into_iter().map(str::to_owned);
        (from.to_owned(), to.collect())
    }));
    let expected = BTreeSet::from([vec!["a", "b", "c"]]);
    assert_eq!(circles(&imports), expected);
}

/// The imports of a crate outside of its tests. Its root, which may name everything, is left out.
fn imports(source: &Path) -> Imports {
    let mut imports = Imports::new();
    for file in files(source) {
        let module = file.strip_prefix(source).unwrap().with_extension("");
        let mut module: Vec<_> = module.iter().map(|it| it.display().to_string()).collect();
        module.pop_if(|last| *last == "mod");
        if matches!(module[0].as_str(), "lib" | "main") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let of_module = imports.entry(module[0].clone()).or_default();
        of_module.extend(named(text, module.len()));
    }
    let modules: BTreeSet<String> = imports.keys().cloned().collect();
    for (module, named) in &mut imports {
        named.retain(|it| it != module && modules.contains(it));
    }
    imports
}

/// The Rust files below a folder, but for tests.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files
}

/// The names in the crate's root that a file uses. `depth` is the number of parts of its module's path.
fn named(text: &str, depth: usize) -> BTreeSet<String> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    let code = lines.collect::<Vec<_>>().join("\n");
    let code = code.replace(&"super::".repeat(depth), "crate::");
    code.split("crate::")
        .skip(1)
        .flat_map(first_names)
        .collect()
}

/// The first name of a path, or of each path in a group.
fn first_names(path: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    match path.strip_prefix('{') {
        None => items[0].push_str(path),
        Some(group) => {
            let mut depth = 0;
            for letter in group.chars() {
                match letter {
                    '}' if depth == 0 => break,
                    ',' if depth == 0 => items.push(String::new()),
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    other => items.last_mut().unwrap().push(other),
                }
            }
        }
    }
    let is_part = |it: &char| it.is_alphanumeric() || *it == '_';
    let names = items.iter().map(|item| item.trim_start());
    names
        .map(|item| item.chars().take_while(is_part).collect())
        .collect()
}

/// The groups of modules that reach each other.
fn circles(imports: &Imports) -> BTreeSet<Vec<&str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = imports
        .keys()
        .map(|module| (module.as_str(), reach(imports, module)))
        .collect();
    let in_circle = reached.iter().filter(|(from, to)| to.contains(*from));
    in_circle
        .map(|(from, to)| {
            let back = to.iter().filter(|it| reached[*it].contains(from));
            back.copied().collect()
        })
        .collect()
}

/// What a module imports, directly or through others.
fn reach<'a>(imports: &'a Imports, from: &str) -> BTreeSet<&'a str> {
    let (mut open, mut seen) = (vec![from], BTreeSet::new());
    while let Some(module) = open.pop() {
        for next in &imports[module] {
            if seen.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    seen
}
