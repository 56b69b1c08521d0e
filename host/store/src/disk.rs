//! Durable writes. Every step goes through [`Faults`], so that a test can cut the power at any of them.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A power cut to come: after so many steps of writing, this one and all later ones fail.
#[derive(Debug, Clone)]
pub struct Faults(Arc<AtomicU64>);

impl Faults {
    const NEVER: u64 = u64::MAX;

    /// No power cut.
    pub fn never() -> Self {
        Self(Arc::new(AtomicU64::new(Self::NEVER)))
    }

    /// Cuts the power before the next step but `steps`.
    pub fn after(steps: u64) -> Self {
        Self(Arc::new(AtomicU64::new(steps)))
    }

    /// Whether the cut has come.
    pub fn struck(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    fn step(&self) -> io::Result<()> {
        let count_down = |left: u64| match left {
            Self::NEVER => Some(left),
            left => left.checked_sub(1),
        };
        match self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count_down)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("injected power cut")),
        }
    }
}

/// The disk as this crate writes it.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Faults);

impl Disk {
    pub fn new(faults: Faults) -> Self {
        Self(faults)
    }

    /// Makes `folder` and what is missing above it.
    pub fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        self.0.step()?;
        fs::create_dir_all(folder)?;
        self.sync_folder(parent(folder))
    }

    /// Opens `path` for writing, empty.
    pub fn create(&self, path: &Path) -> io::Result<File> {
        self.0.step()?;
        File::create(path)
    }

    /// Writes a piece.
    pub fn write(&self, file: &mut File, piece: &[u8]) -> io::Result<()> {
        if let Err(cut) = self.0.step() {
            // A power cut in the middle of a write leaves a part of it.
            let half = piece.len() / 2;
            file.write_all(piece.get(..half).unwrap_or_default())?;
            return Err(cut);
        }
        file.write_all(piece)
    }

    /// Makes what was written to `part` durable, and gives it the name `path`.
    pub fn finish(&self, file: &File, part: &Path, path: &Path) -> io::Result<()> {
        self.0.step()?;
        file.sync_all()?;
        self.0.step()?;
        fs::rename(part, path)?;
        self.sync_folder(parent(path))
    }

    /// Replaces `path` with `bytes`, whole or not at all.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let part = part_of(path);
        let mut file = self.create(&part)?;
        self.write(&mut file, bytes)?;
        self.finish(&file, &part, path)
    }

    /// Makes the names in `folder` durable.
    pub fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.step()?;
        File::open(folder)?.sync_all()
    }
}

/// The folder that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The name that `path` is written under until it is whole.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}
