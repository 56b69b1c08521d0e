//! The stable names of errors, faults, causes, phases and events: a change of one shows in `names.txt`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hotshoe_devkit::find_root;

/// Writes the list in place of comparing it, if it is `accept`.
const ACCEPT: &str = "HOTSHOE_NAMES";

#[test]
fn no_stable_name_changes_unseen() {
    let root = find_root(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join("host")).unwrap() {
        sources(&entry.unwrap().path().join("src"), &mut files);
    }
    let mut names = BTreeSet::new();
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        names.extend(of_functions(&source));
        names.extend(of_causes(&source));
        names.extend(of_derived(&source));
    }
    assert!(names.contains("Phase rolled-back") && names.contains("KnownKind part_died"));
    let found: String = names.iter().map(|name| format!("{name}\n")).collect();
    let golden = root.join("tests/system/names.txt");
    if std::env::var(ACCEPT).is_ok_and(|value| value == "accept") {
        fs::write(&golden, &found).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    let expected: BTreeSet<String> = expected.lines().map(str::to_owned).collect();
    let gone: Vec<_> = expected.difference(&names).collect();
    let new: Vec<_> = names.difference(&expected).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "gone: {gone:#?}\nnew: {new:#?}\n{ACCEPT}=accept writes the list"
    );
}

#[test]
fn names_are_found_in_functions_causes_and_derives() {
    let source = "
impl Other { fn x(&self) {} }
impl AnError {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Io { .. } => \"io\",
            Self::Two(error) => error.name(),
        }
    }
}
fn refuse() -> Cause { Cause::new(
    \"below_floor\", format!(\"text\")) }
#[strum(serialize_all = \"snake_case\")]
pub enum Derived {
    /// A variant.
    TwoWords,
    Fields {
        name: String,
    },
}
";
    assert_eq!(of_functions(source), ["AnError io"]);
    assert_eq!(of_causes(source), ["Cause below_floor"]);
    assert_eq!(of_derived(source), ["Derived two_words", "Derived fields"]);
}

/// The Rust files below a folder.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// The texts in the functions `name` and `as_str` of a type.
fn of_functions(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    for signature in [
        "fn name(self)",
        "fn name(&self)",
        "fn as_str(self)",
        "fn as_str(&self)",
    ] {
        for (at, _) in source.match_indices(signature) {
            let (before, after) = source.split_at(at);
            let open = after.find(['{', ';']).unwrap();
            if !after[open..].starts_with('{') {
                continue;
            }
            let body = block(&after[open + 1..]);
            let of = implementor(before);
            names.extend(quoted(body).map(|name| format!("{of} {name}")));
        }
    }
    names
}

/// The names that causes are made with.
fn of_causes(source: &str) -> Vec<String> {
    let made = source.split("Cause::new(").skip(1);
    let first = made.filter_map(|rest| rest.trim_start().strip_prefix('"'));
    let names = first.filter_map(|rest| rest.split('"').next());
    names
        .filter(|name| is_name(name))
        .map(|name| format!("Cause {name}"))
        .collect()
}

/// The names that strum derives from the variants of an enum.
fn of_derived(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (case, separator) in [("snake_case", '_'), ("kebab-case", '-')] {
        let attribute = format!("#[strum(serialize_all = \"{case}\")]\npub enum ");
        for rest in source.split(&attribute).skip(1) {
            let (name, rest) = rest.split_once(" {").unwrap();
            for line in block(rest).lines() {
                let variant = line.strip_prefix("    ").unwrap_or_default();
                let end = variant.find(|it: char| !it.is_alphanumeric());
                let variant = &variant[..end.unwrap_or(variant.len())];
                if variant.starts_with(char::is_uppercase) {
                    names.push(format!("{name} {}", in_case(variant, separator)));
                }
            }
        }
    }
    names
}

fn in_case(variant: &str, separator: char) -> String {
    let mut name = String::new();
    for letter in variant.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push(separator);
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// The text up to the brace that closes the one before it.
fn block(source: &str) -> &str {
    let mut depth = 1;
    for (at, letter) in source.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &source[..at];
        }
    }
    source
}

/// The type of the last `impl` in a source.
fn implementor(before: &str) -> &str {
    let line = before
        .lines()
        .rfind(|line| line.starts_with("impl"))
        .unwrap_or("");
    let line = line.trim_start_matches("impl");
    let line = match line.strip_prefix('<') {
        Some(generic) => generic.split_once("> ").map_or(line, |(_, rest)| rest),
        None => line,
    };
    let of = line
        .split_once(" for ")
        .map_or(line, |(_, of)| of)
        .trim_start();
    let end = of.find(|it: char| !it.is_alphanumeric() && it != '_');
    &of[..end.unwrap_or(of.len())]
}

/// The quoted names in a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').filter(|name| is_name(name))
}

fn is_name(text: &str) -> bool {
    let rest = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "_-".contains(it);
    text.starts_with(|it: char| it.is_ascii_lowercase()) && text.chars().all(rest)
}
