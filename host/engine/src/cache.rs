//! Cache of compiled code on disk. It loads only files that this crate wrote, from a folder that only this user may write, and checks
//! each file against its name and its digest.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use hotshoe_base::format::{FileFormat, NewerFormat};
use hotshoe_sealing::{AtRest, UnsealError};
use hotshoe_trust::Digest;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use crate::code::{Code, DIGEST_LENGTH};

const MAGIC: &[u8] = b"hotshoe-code-2\n";
/// The magic bytes up to the version.
const MAGIC_PREFIX: &[u8] = b"hotshoe-code-";
/// The format of a file, whose version is in its magic bytes.
const FORMAT: FileFormat = FileFormat::new(2, 2);
/// What a file of format 1 begins with. It does not say which component its code is of, so the component is compiled again.
const UNNAMED: &[u8] = b"hotshoe-code-1\n";

/// Why the cache could not be used. It is only a warning, since the component is compiled again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("{0} belongs to another user, or others may write it; `chown` it and `chmod 700` it")]
    Exposed(PathBuf),
    #[error("cannot use {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} is damaged")]
    Damaged(PathBuf),
    #[error("{0} has the code of another component, or of other settings")]
    Misplaced(PathBuf),
    #[error("cannot decrypt {path}")]
    Sealed {
        path: PathBuf,
        #[source]
        source: UnsealError,
    },
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    #[error("{path} does not fit this build")]
    Unfit {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

#[derive(Debug)]
pub(crate) struct CodeCache {
    folder: PathBuf,
    at_rest: AtRest,
}

impl CodeCache {
    pub(crate) const fn new(folder: PathBuf, at_rest: AtRest) -> Self {
        Self { folder, at_rest }
    }

    /// The code of this component for this engine; `None` if it is not in the cache.
    pub(crate) fn load(
        &self,
        engine: &wasmtime::Engine,
        component: Digest,
    ) -> Result<Option<Component>, CacheError> {
        let name = name_of(engine, component);
        let path = self.path(&name);
        if !path.exists() {
            return Ok(None);
        }
        check_owner(&self.folder)?;
        check_owner(&path)?;
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(CacheError::Io { path, source }),
        };
        let bytes = match self.at_rest.open_bytes(&name, bytes) {
            Ok(bytes) => bytes,
            Err(source) => return Err(CacheError::Sealed { path, source }),
        };
        FORMAT.check_magic(path.display(), &bytes, MAGIC_PREFIX)?;
        if bytes.starts_with(UNNAMED) {
            return Ok(None);
        }
        let parts = bytes.strip_prefix(MAGIC).and_then(|rest| {
            let (named, rest) = rest.split_at_checked(name.len())?;
            let (digest, code) = rest.split_at_checked(DIGEST_LENGTH)?;
            Some((named, digest, code))
        });
        let Some((named, digest, code)) = parts else {
            return Err(CacheError::Damaged(path));
        };
        if named != name.as_bytes() {
            return Err(CacheError::Misplaced(path));
        }
        if Sha256::digest(code).as_slice() != digest {
            return Err(CacheError::Damaged(path));
        }
        deserialize(engine, code)
            .map(Some)
            .map_err(|source| CacheError::Unfit {
                path,
                source: source.into(),
            })
    }

    /// Stores the code of this component for `engine`.
    pub(crate) fn keep(
        &self,
        engine: &wasmtime::Engine,
        component: Digest,
        code: &Code,
    ) -> Result<(), CacheError> {
        let io_error = |path: PathBuf| move |source| CacheError::Io { path, source };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(io_error(self.folder.clone()))?;
        check_owner(&self.folder)?;
        let mut file =
            tempfile::NamedTempFile::new_in(&self.folder).map_err(io_error(self.folder.clone()))?;
        let name = name_of(engine, component);
        let path = self.path(&name);
        // No fsync: a file that a power cut truncates does not match its digest, and is compiled again.
        let contents = [MAGIC, name.as_bytes(), code.digest(), code.bytes()].concat();
        self.at_rest
            .seal_bytes(&name, contents)
            .and_then(|bytes| file.write_all(&bytes))
            .and_then(|()| file.persist(&path).map_err(|error| error.error))
            .map(drop)
            .map_err(io_error(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.code"))
    }
}

/// Which code it is: the digests of the component and of the settings. It is in the name of the file, in its contents, and in what it is sealed
/// as, so that a copy under another name is not loaded.
fn name_of(engine: &wasmtime::Engine, component: Digest) -> String {
    let mut settings = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut settings);
    let settings = hex::encode(settings.0.finalize());
    format!("{}-{settings}", component.hex())
}

/// Write access to this folder decides which code runs, so that only this user may have it.
fn check_owner(path: &Path) -> Result<(), CacheError> {
    let metadata = fs::symlink_metadata(path).map_err(|source| CacheError::Io {
        path: path.to_owned(),
        source,
    })?;
    let mine = metadata.uid() == rustix::process::geteuid().as_raw();
    if mine && metadata.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(CacheError::Exposed(path.to_owned()))
    }
}

/// A stable hasher for file names: the standard library's default hasher may change between releases of Rust.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Unused: the digest is read from the inner hasher.
    fn finish(&self) -> u64 {
        0
    }
}

/// Loads a component from compiled code: from the cache, or from the process that this one started to compile it.
#[allow(unsafe_code)]
pub(crate) fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` must be unmodified output of wasmtime's own compiler. `load` calls this with what `keep` wrote: the file
    // and its folder belong to this user and others cannot write them, so only someone who can already run code as this
    // user can forge it; the digest detects faults of the disk. `Compiler::compile` calls it with what came
    // through a pipe from this very program, started by it: no other process has the pipe's other end, and the digest finds an
    // answer that is cut off.
    unsafe { Component::deserialize(engine, code) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use hotshoe_sealing::DeviceKey;

    use super::*;

    #[test]
    fn code_under_the_name_of_another_component_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let key = DeviceKey::create(&folder.path().join("device.key")).unwrap();
        let engine = wasmtime::Engine::default();
        for (at_rest, said) in [
            (AtRest::plain(), "of another component"),
            (AtRest::sealed(key, true), "cannot decrypt"),
        ] {
            let is_sealed = at_rest.is_sealed();
            let cache = CodeCache::new(folder.path().join(is_sealed.to_string()), at_rest);
            let paths = ["(component)", "(component (core module))"].map(|text| {
                let component = Digest::of(text.as_bytes());
                let code = engine
                    .precompile_component(&wat::parse_str(text).unwrap())
                    .unwrap();
                cache.keep(&engine, component, &Code::new(code)).unwrap();
                assert!(cache.load(&engine, component).unwrap().is_some());
                cache.path(&name_of(&engine, component))
            });
            let [from, to] = paths;
            fs::copy(from, to).unwrap();
            let other = Digest::of(b"(component (core module))");
            let error = cache.load(&engine, other).map(drop).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn code_of_format_1_is_compiled_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::new(folder.path().join("aot"), AtRest::plain());
        let engine = wasmtime::Engine::default();
        let component = Digest::of(b"(component)");
        let bytes = wat::parse_str("(component)").unwrap();
        let code = Code::new(engine.precompile_component(&bytes).unwrap());
        cache.keep(&engine, component, &code).unwrap();
        let path = cache.path(&name_of(&engine, component));
        let before = [UNNAMED, code.digest(), code.bytes()].concat();
        fs::write(path, before).unwrap();
        assert!(cache.load(&engine, component).unwrap().is_none());
    }
}
