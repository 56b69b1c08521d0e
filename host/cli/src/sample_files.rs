//! The inputs of models as files: where they are, and how they are written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_infer::{Tensor, npz};

/// The entries of a folder, sorted by name.
pub(crate) fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", folder.display());
    let mut paths = fs::read_dir(folder)
        .with_context(cannot)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()
        .with_context(cannot)?;
    paths.sort();
    Ok(paths)
}

pub(crate) fn is_test_set(path: &Path) -> bool {
    path.join("input_0.pb").is_file()
}

pub(crate) fn is_sample(path: &Path) -> bool {
    let ending = path.extension().and_then(|it| it.to_str());
    is_test_set(path) || ending == Some("npz") || ending == Some("npy")
}

/// Writes recorded inputs of models as `FOLDER/MODEL/0000.npz` and so on, after existing files.
#[derive(Debug)]
pub(crate) struct InputsWriter<'a> {
    folder: &'a Path,
    models: BTreeMap<String, ModelFolder>,
}

/// The folder of one model.
#[derive(Debug)]
struct ModelFolder {
    folder: PathBuf,
    /// The number of the next file.
    next: usize,
    /// The number of samples that existed before.
    before: usize,
    written: usize,
}

impl<'a> InputsWriter<'a> {
    /// A writer to this folder, which has written nothing yet.
    pub(crate) fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            models: BTreeMap::new(),
        }
    }

    /// Writes the inputs of one model.
    pub(crate) fn write(
        &mut self,
        model: &str,
        runs: &[Vec<(String, Tensor)>],
    ) -> anyhow::Result<()> {
        let it = match self.models.entry(model.to_owned()) {
            Entry::Occupied(it) => it.into_mut(),
            Entry::Vacant(it) => it.insert(ModelFolder::at(self.folder.join(model))?),
        };
        let cannot = || format!("cannot write to {}", it.folder.display());
        for inputs in runs {
            let path = it.folder.join(format!("{:04}.npz", it.next));
            let file = File::create_new(path).with_context(cannot)?;
            npz::write(file, inputs).with_context(cannot)?;
            it.next += 1;
            it.written += 1;
        }
        Ok(())
    }

    /// A summary on one line.
    pub(crate) fn summary(&self) -> String {
        let of = |it: &ModelFolder| {
            let after = match it.before {
                0 => String::new(),
                before => format!(" after {before} existing"),
            };
            format!("{} to {}{after}", it.written, it.folder.display())
        };
        let all: Vec<String> = self.models.values().map(of).collect();
        format!("inputs saved: {}", all.join(", "))
    }
}

impl ModelFolder {
    fn at(folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        let there = entries(&folder)?;
        let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<usize>().ok();
        Ok(Self {
            next: there.iter().filter_map(number).max().map_or(0, |it| it + 1),
            before: there.iter().filter(|path| is_sample(path)).count(),
            written: 0,
            folder,
        })
    }
}
