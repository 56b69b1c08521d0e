//! ONNX Runtime's library, from its wheels on PyPI. MIT.
use crate::progress::Progress;
use crate::wheel::{BuiltFor, Member, Wheel, WheelError};
use std::path::{Path, PathBuf};

/// The version that is fetched.
pub const VERSION: &str = "1.31.1";
/// The processors that it is fetched for, as in [`std::env::consts::ARCH`]; all on Linux with the GNU C library.
pub const PROCESSORS: [&str; 2] = ["x86_64", "aarch64"];
/// The library, below the folder that it is fetched into.
pub(crate) const LIBRARY: &str = "onnxruntime/libonnxruntime.so";

/// A fetched library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its file.
    pub path: PathBuf,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: &'static str,
    /// False if it was there already.
    pub is_new: bool,
}

/// The pinned library and its licence for a processor of [`PROCESSORS`].
#[derive(Debug, Clone, Copy)]
pub struct Runtime(Wheel);

impl Runtime {
    /// For Linux with the GNU C library on this processor, as in [`std::env::consts::ARCH`]; none for others.
    pub fn of(processor: &str) -> Option<Self> {
        match processor {
            "x86_64" => Some(Self(X86_64)),
            "aarch64" => Some(Self(AARCH64)),
            _ => None,
        }
    }

    /// The processor of this machine, if there is a library for its system.
    pub fn processor_here() -> Option<&'static str> {
        let is_linux = cfg!(all(target_os = "linux", target_env = "gnu"));
        let mut processors = PROCESSORS.into_iter();
        processors.find(|it| is_linux && *it == std::env::consts::ARCH)
    }

    /// SHA-256 of the library, in lower-case hexadecimal.
    pub fn sha256(&self) -> &'static str {
        let mut members = self.0.members.iter();
        let library = members.find(|member| member.to == LIBRARY);
        library.map_or("", |library| library.sha256)
    }

    /// Downloads it to `onnxruntime/libonnxruntime.so` below the folder, with its licence, unless all of that is there. Needs no network then.
    ///
    /// # Errors
    /// [`WheelError`]: no Python or pip, no package registry, other contents than the pinned ones, or a file that cannot be written.
    pub fn fetch(&self, folder: &Path, progress: &Progress) -> Result<Fetched, WheelError> {
        let mut fetched = Fetched {
            path: folder.join(LIBRARY),
            sha256: self.sha256(),
            is_new: false,
        };
        if self.0.missing(folder).is_empty() {
            return Ok(fetched);
        }
        self.0.fetch(folder, progress)?;
        fetched.is_new = true;
        Ok(fetched)
    }
}

pub(crate) fn for_this_machine() -> Option<Wheel> {
    Runtime::processor_here()
        .and_then(Runtime::of)
        .map(|it| it.0)
}

const X86_64: Wheel = wheel(
    23_753_652,
    "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
    "manylinux_2_28_x86_64",
    &[
        library(
            29_352_200,
            "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
        ),
        LICENCE,
        NOTICES,
    ],
);

const AARCH64: Wheel = wheel(
    21_413_526,
    "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
    "manylinux_2_28_aarch64",
    &[
        library(
            25_265_040,
            "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
        ),
        LICENCE,
        NOTICES,
    ],
);

/// Who passes the library on passes these on.
const LICENCE: Member = Member {
    path: "onnxruntime/LICENSE",
    to: "onnxruntime/LICENSE",
    size: 1_073,
    sha256: "2f07c72751aed99790b8a4869cf2311df85a860b22ded05fa22803587a48922c",
};
const NOTICES: Member = Member {
    path: "onnxruntime/ThirdPartyNotices.txt",
    to: "onnxruntime/ThirdPartyNotices.txt",
    size: 338_088,
    sha256: "143764b952fdb1a7c69ce653bfba74a7744d6a8a573bfb73e235fba356c83de3",
};

const fn library(size: u64, sha256: &'static str) -> Member {
    Member {
        path: "onnxruntime/capi/libonnxruntime.so.1.31.1",
        to: LIBRARY,
        size,
        sha256,
    }
}

const fn wheel(
    size: u64,
    sha256: &'static str,
    platform: &'static str,
    members: &'static [Member],
) -> Wheel {
    Wheel {
        project: "onnxruntime",
        version: VERSION,
        size,
        sha256,
        // Any Python: the library does not depend on it.
        built_for: Some(BuiltFor {
            python: "3.11",
            abi: "cp311",
            platform,
        }),
        members,
        tree: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn each_processor_has_a_library_of_the_pinned_version() {
        for processor in PROCESSORS {
            let runtime = Runtime::of(processor).unwrap();
            assert_eq!(runtime.sha256().len(), 64, "{processor}");
            assert!(
                runtime
                    .0
                    .members
                    .iter()
                    .any(|member| member.path.ends_with(VERSION)),
                "{processor}"
            );
        }
        assert!(Runtime::of("riscv64").is_none());
    }
}
