//! The libraries of ONNX Runtime that Hotshoe brings itself, and their places.

use std::env;
use std::path::PathBuf;

#[cfg(feature = "ort")]
use hotshoe_trust::Digest;

/// The library below a folder of Hotshoe's.
#[cfg(feature = "ort")]
const FILE: &str = "onnxruntime/libonnxruntime.so";
/// Where packages put it, that of an administrator first.
#[cfg(feature = "ort")]
const PACKAGED: [&str; 2] = ["/usr/local/lib/hotshoe", "/usr/lib/hotshoe"];

/// Version and digest of each library that is loaded from a folder of Hotshoe's, such as ("1.31.1", "sha256:..."). From PyPI's wheels
/// `onnxruntime` for x86-64 and AArch64, Linux with the GNU C library.
pub const PINNED_LIBRARIES: [(&str, &str); 2] = [
    (
        "1.31.1",
        "sha256:fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
    ),
    (
        "1.31.1",
        "sha256:8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
    ),
];

/// The folder of this user's libraries, if the user has one: `$XDG_DATA_HOME/hotshoe`, else `~/.local/share/hotshoe`. Below it is
/// `onnxruntime/libonnxruntime.so`, as below the folders of packages, `/usr/local/lib/hotshoe` and `/usr/lib/hotshoe`.
pub fn ort_folder() -> Option<PathBuf> {
    let absolute = |name| {
        let set = env::var_os(name).map(PathBuf::from);
        set.filter(|path| path.is_absolute())
    };
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    Some(data?.join("hotshoe"))
}

/// The libraries in the folders of Hotshoe that exist, the one of this user first.
#[cfg(feature = "ort")]
pub(super) fn own_libraries() -> impl Iterator<Item = PathBuf> {
    let folders = ort_folder().into_iter().chain(PACKAGED.map(PathBuf::from));
    let files = folders.map(|folder| folder.join(FILE));
    // A dangling link is there, too, and has to be told.
    files.filter(|file| file.symlink_metadata().is_ok())
}

/// The version of a pinned library.
#[cfg(feature = "ort")]
pub(super) fn pinned_version(digest: Digest) -> Option<&'static str> {
    let digest = digest.to_string();
    let mut pins = PINNED_LIBRARIES.into_iter();
    pins.find_map(|(version, pinned)| (pinned == digest).then_some(version))
}
