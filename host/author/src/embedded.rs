//! The WIT files, the SDK and the templates, embedded at build time, so that the program works without a checkout.
use include_dir::{Dir, DirEntry, include_dir};
use std::fs;
use std::io;
use std::path::Path;

/// The folder `wit`.
pub static WIT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../wit");

/// The folder `sdk`, with `sdk/templates`.
pub static SDK: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk");

/// Folders of tools' output, which are not copied.
const LEFT_BY_TOOLS: [&str; 3] = ["target", "node_modules", "__pycache__"];

/// The document of each folder, which is not copied, because its links work only in a checkout.
const DOCUMENT: &str = "README.md";

/// An embedded file.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// The path below the requested folder, with `/`.
    pub path: &'static str,
    /// The bytes.
    pub contents: &'static [u8],
}

/// All files below a folder of `dir` (`rust`, `templates/common/policy`), sorted by path; empty if there is no such folder.
pub fn files(dir: &'static Dir<'static>, folder: &str) -> Vec<File> {
    let mut found = Vec::new();
    if folder.is_empty() {
        collect(dir, "", &mut found);
    } else if let Some(dir) = dir.get_dir(folder) {
        collect(dir, folder, &mut found);
    }
    found.sort_by_key(|file| file.path);
    found
}

fn collect(dir: &'static Dir<'static>, root: &str, found: &mut Vec<File>) {
    for entry in dir.entries() {
        let path = entry.path().to_str().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        match entry {
            DirEntry::Dir(_) if LEFT_BY_TOOLS.contains(&name) => {}
            DirEntry::Dir(dir) => collect(dir, root, found),
            DirEntry::File(_) if path == DOCUMENT => {}
            DirEntry::File(file) => found.push(File {
                path: path
                    .strip_prefix(root)
                    .unwrap_or(path)
                    .trim_start_matches('/'),
                contents: file.contents(),
            }),
        }
    }
}

/// Writes a folder of `dir` below `to`. Does not touch equal files, so that build tools see no change.
pub fn write(dir: &'static Dir<'static>, folder: &str, to: &Path) -> io::Result<()> {
    for file in files(dir, folder) {
        let path = to.join(file.path);
        if fs::read(&path).is_ok_and(|present| present == file.contents) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, file.contents)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_interfaces_and_the_sdk_are_inside() {
        let folder = tempfile::tempdir().unwrap();
        write(&WIT, "", folder.path()).unwrap();
        assert!(folder.path().join("worlds.wit").is_file());
        assert!(folder.path().join("deps/wasi-nn/wasi-nn.wit").is_file());
        assert!(!folder.path().join(DOCUMENT).exists());
        let sdk = files(&SDK, "rust");
        assert!(sdk.iter().any(|file| file.path == "src/lib.rs"), "{sdk:?}");
        assert!(files(&SDK, "no-such-folder").is_empty());
    }
}
