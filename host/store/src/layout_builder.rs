//! Building a layout in a temporary folder, and moving it to its path when it is complete.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use hotshoe_base::disk::{Disk, parent};
use hotshoe_trust::{Blob, manifest::RELEASE};
use oci_spec::image::{ImageIndexBuilder, MediaType, OciLayoutBuilder};
use tempfile::TempDir;

use crate::{
    blob_error::{BlobError, OpenFile},
    chunking::chunk,
    layout::{Layout, LayoutError},
};

/// A layout that is being built. If it is dropped before [`Self::finish`], nothing remains.
#[derive(Debug)]
pub struct LayoutBuilder {
    target: PathBuf,
    folder: TempDir,
    layout: Layout,
}

impl Layout {
    /// Begins a layout for `path`. An existing release folder is replaced when the new one is finished, including its
    /// signatures; any other existing file or folder is refused.
    pub fn create(path: &Path) -> Result<LayoutBuilder, LayoutError> {
        if !replaceable(path) {
            return Err(LayoutError::InTheWay {
                path: path.to_owned(),
            });
        }
        let io = |source| LayoutError::Io {
            path: path.to_owned(),
            source,
        };
        Disk::shared().make_folder(parent(path)).map_err(io)?;
        let folder = beside(path).map_err(io)?;
        let layout = Layout::at(folder.path());
        layout.prepare()?;
        Ok(LayoutBuilder {
            target: path.to_owned(),
            folder,
            layout,
        })
    }
}

/// Whether `path` is free, an empty folder, or a release folder.
fn replaceable(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none() || path.join("oci-layout").is_file(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// A new folder on the same file system as `path`, with ordinary permissions (the umask applies).
fn beside(path: &Path) -> io::Result<TempDir> {
    let permissions = fs::Permissions::from_mode(0o777);
    tempfile::Builder::new()
        .prefix(".hotshoe-")
        .permissions(permissions)
        .tempdir_in(parent(path))
}

impl LayoutBuilder {
    /// Adds a blob.
    pub fn put(&self, bytes: &[u8]) -> Result<Blob, LayoutError> {
        self.layout.put(bytes)
    }

    /// Adds a file of at most `limit` bytes as a blob.
    pub fn put_file(&self, path: &Path, limit: u64) -> Result<Blob, BlobError> {
        self.layout.blobs.put_file(path, limit)
    }

    /// Adds an open file of at most `limit` bytes, which is at `path`, as a blob.
    pub(crate) fn put_open(
        &self,
        file: OpenFile<'_>,
        path: &Path,
        limit: u64,
    ) -> Result<Blob, BlobError> {
        self.layout.blobs.put_open(file, path, limit)
    }

    /// Adds the chunk index of a blob that was added.
    pub(crate) fn put_chunks(&self, blob: Blob) -> Result<Blob, LayoutError> {
        let index = chunk(&self.layout.blobs, blob).map_err(|source| LayoutError::Blob {
            path: self.target.clone(),
            source,
        })?;
        self.put(&index.to_bytes())
    }

    /// Adds the release's manifest and moves the layout to its path.
    pub fn finish(self, manifest: &[u8]) -> Result<Layout, LayoutError> {
        let json = |what: &'static str| {
            let path = self.target.clone();
            move |source| LayoutError::Json {
                what: what.to_owned(),
                path,
                source,
            }
        };
        let manifest = self.layout.put(manifest)?;
        let mut descriptor = self.layout.descriptor(MediaType::ImageManifest, manifest)?;
        descriptor.set_artifact_type(Some(MediaType::Other(RELEASE.to_owned())));
        let index = ImageIndexBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageIndex)
            .manifests([descriptor])
            .build()
            .map_err(json("index.json"))?;
        let version = OciLayoutBuilder::default()
            .image_layout_version("1.0.0")
            .build()
            .and_then(|version| version.to_string())
            .map_err(json("oci-layout"))?;
        self.layout.write_index(&index)?;
        self.layout.replace("oci-layout", version.as_bytes())?;
        self.take_place()
    }

    fn take_place(self) -> Result<Layout, LayoutError> {
        let target = self.target;
        let io = |source| LayoutError::Io {
            path: target.clone(),
            source,
        };
        // A rename does not replace a folder that is not empty, so the old one moves aside first, and back on failure.
        let aside = beside(&target).map_err(io)?;
        let old = aside.path().join("old");
        let replaces = target.exists();
        let disk = self.layout.blobs.disk();
        if replaces {
            disk.rename(&target, &old).map_err(io)?;
        }
        if let Err(error) = disk.rename(self.folder.path(), &target) {
            if replaces {
                disk.rename(&old, &target).map_err(io)?;
            }
            return Err(io(error));
        }
        // It has moved, so that there is nothing to remove at its old name.
        let _ = self.folder.keep();
        Ok(Layout::at(&target))
    }
}
