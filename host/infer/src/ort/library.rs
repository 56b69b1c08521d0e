//! Finding and loading the library of ONNX Runtime.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{self, Path, PathBuf};

use hotshoe_trust::{Digest, Hasher};
use ort::LoadDynamicError;
use ort::environment::Environment;
use parking_lot::Mutex;
use thiserror::Error;

use super::pinned::{own_libraries, pinned_version};
use super::{ChangedLibrary, NotFound, OrtLibrary, providers};
use crate::OrtOptions;
use crate::guard::guard;

/// Environment variable with the library, if the configuration does not set it.
const VARIABLE: &str = "ORT_DYLIB_PATH";
/// File names to search in the library path of the system.
#[cfg(target_os = "linux")]
const NAMES: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.so.1"];
#[cfg(target_os = "macos")]
const NAMES: [&str; 1] = ["libonnxruntime.dylib"];
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
const NAMES: [&str; 1] = ["onnxruntime.dll"];

/// The library of this process. It is never unloaded.
static LOADED: Mutex<Option<LoadedLibrary>> = Mutex::new(None);

/// A loaded library.
#[derive(Clone)]
pub(super) struct LoadedLibrary {
    pub(super) environment: Environment,
    path: PathBuf,
    version: String,
    digest: Option<Digest>,
    pub(super) providers: Vec<&'static str>,
}

/// Whether the configuration or the environment sets a library, or one is in its place.
pub(super) fn is_expected(options: &OrtOptions) -> bool {
    named(options).is_some() || own_libraries().next().is_some()
}

/// Information about the library.
pub(super) fn found(options: &OrtOptions) -> OrtLibrary {
    match loaded(options) {
        Ok(loaded) => OrtLibrary {
            path: Some(loaded.path),
            version: loaded.version,
            digest: loaded.digest,
            providers: loaded.providers.into_iter().map(str::to_owned).collect(),
            tried: Vec::new(),
        },
        Err(NotFound { tried, .. }) => OrtLibrary {
            tried,
            ..OrtLibrary::default()
        },
    }
}

/// The library, which is loaded on the first call.
pub(super) fn loaded(options: &OrtOptions) -> Result<LoadedLibrary, NotFound> {
    let mut held = LOADED.lock();
    if let Some(loaded) = &*held {
        return Ok(loaded.clone());
    }
    let (mut tried, mut changed) = (Vec::new(), None);
    for Candidate { path, digest } in candidates(options) {
        match open_checked(&path, &digest) {
            Ok(loaded) => {
                let (path, version) = (loaded.path.display(), &loaded.version);
                tracing::info!(%path, version, providers = ?loaded.providers, "ONNX Runtime loaded");
                return Ok(held.insert(loaded).clone());
            }
            Err(problem) => {
                tried.push((path, problem.to_string()));
                if let Problem::Changed(library) = problem {
                    changed.get_or_insert(library);
                }
            }
        }
    }
    Err(NotFound { tried, changed })
}

/// A library that may be loaded.
struct Candidate {
    path: PathBuf,
    digest: Wanted,
}

/// The digest that a library must have.
enum Wanted {
    Any,
    /// This one, which the configuration sets.
    One(Digest),
    /// One that is pinned.
    Pinned,
}

/// Why a library is not loaded.
#[derive(Debug, Error)]
enum Problem {
    #[error(transparent)]
    Changed(ChangedLibrary),
    #[error("{0}")]
    Other(String),
}

fn named(options: &OrtOptions) -> Option<PathBuf> {
    options.library.clone().or_else(|| {
        let variable = env::var_os(VARIABLE).filter(|value| !value.is_empty());
        variable.map(PathBuf::from)
    })
}

/// A configured library is the only candidate.
fn candidates(options: &OrtOptions) -> Vec<Candidate> {
    let set = |otherwise| options.library_digest.map_or(otherwise, Wanted::One);
    let named = named(options).map(|path| Candidate {
        // The loader resolves a bare name. Other paths are relative to the current folder, not to this program.
        path: match path.components().count() {
            0 | 1 => path,
            _ => path::absolute(&path).unwrap_or(path),
        },
        digest: set(Wanted::Any),
    });
    if let Some(named) = named {
        return vec![named];
    }
    let own: Vec<_> = own_libraries()
        .map(|path| Candidate {
            path,
            digest: set(Wanted::Pinned),
        })
        .collect();
    // A changed library is refused, and no other of the system stands in for it unseen.
    if !own.is_empty() {
        return own;
    }
    let system = NAMES.map(|name| Candidate {
        path: name.into(),
        digest: set(Wanted::Any),
    });
    system.into()
}

/// Opens a library that has a wanted digest: what it does at its start happens before anything could look at it.
fn open_checked(path: &Path, wanted: &Wanted) -> Result<LoadedLibrary, Problem> {
    let digest = match wanted {
        Wanted::Any => None,
        wanted => Some(checked_digest(path, wanted)?),
    };
    let open = || open(path, digest);
    guard(open).unwrap_or_else(Err).map_err(Problem::Other)
}

/// The digest of the file, which is a wanted one.
fn checked_digest(path: &Path, wanted: &Wanted) -> Result<Digest, Problem> {
    if !path.is_absolute() {
        let problem = "its digest is set, so that it needs a path and not a name";
        return Err(Problem::Other(problem.to_owned()));
    }
    let found =
        digest_of(path).map_err(|error| Problem::Other(format!("it cannot be read: {error}")))?;
    let expected = match wanted {
        Wanted::One(expected) if found != *expected => {
            format!("`library-digest` is {expected}")
        }
        Wanted::Pinned if pinned_version(found).is_none() => {
            "this version of Hotshoe loads none with it from there".to_owned()
        }
        _ => return Ok(found),
    };
    Err(Problem::Changed(ChangedLibrary {
        path: path.to_owned(),
        found,
        expected,
    }))
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = hotshoe_base::files::open(path)?;
    let (mut hasher, mut piece) = (Hasher::new(), vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut piece)?;
        match piece.get(..read) {
            Some(read) if !read.is_empty() => hasher.update(read),
            _ => return Ok(hasher.finish()),
        }
    }
}

fn open(path: &Path, digest: Option<Digest>) -> Result<LoadedLibrary, String> {
    if path.is_absolute() && !path.exists() {
        // This includes a dangling link.
        return Err("there is no such file".to_owned());
    }
    let builder = ort::init_from(path).map_err(|e| match e {
        LoadDynamicError::Dlopen { error, .. } => {
            // The error of the loader is the cause: a dependency may be missing.
            let reason = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            format!("it cannot be loaded: {reason}")
        }
        LoadDynamicError::MissingApi { .. } => "it is not ONNX Runtime".to_owned(),
        LoadDynamicError::BadVersion { version_str, .. } => format!(
            "it is version {version_str}; 1.{} or newer is needed",
            ort::MINOR_VERSION
        ),
        other @ LoadDynamicError::InvalidVersionString => other.to_string(),
    })?;
    let environment = builder
        .with_name("hotshoe")
        .with_telemetry(false)
        .build()
        .map_err(|e| format!("it does not start: {e}"))?;
    environment.set_log_level(ort::logging::LogLevel::Warning);
    let path = if path.is_absolute() {
        path.to_owned()
    } else {
        mapped().unwrap_or_else(|| path.to_owned())
    };
    let known = digest.and_then(pinned_version).map(str::to_owned);
    Ok(LoadedLibrary {
        environment,
        version: known.or_else(|| version(&path)).unwrap_or_default(),
        digest,
        path,
        providers: providers::available(),
    })
}

/// The path of the loaded library: Linux lists the files that a process has mapped.
fn mapped() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let mut files = maps
        .lines()
        .filter_map(|line| line.find('/').and_then(|at| line.get(at..)));
    let file = files.find(|file| file.contains("libonnxruntime.so"))?;
    Some(PathBuf::from(file))
}

/// ONNX Runtime's interface hides its version number from safe code. On Linux its symbols carry it: `VERS_1.22.0`.
fn version(library: &Path) -> Option<String> {
    const MARK: &[u8] = b"VERS_";
    let mut matched = 0;
    let mut bytes = BufReader::with_capacity(1 << 20, File::open(library).ok()?).bytes();
    loop {
        let byte = bytes.next()?.ok()?;
        if MARK.get(matched) == Some(&byte) {
            matched += 1;
        } else {
            matched = usize::from(MARK.first() == Some(&byte));
        }
        if matched == MARK.len() {
            let number = bytes.by_ref().map_while(Result::ok).map_while(|byte| {
                Some(char::from(byte)).filter(|c| c.is_ascii_digit() || *c == '.')
            });
            return Some(number.collect());
        }
    }
}
