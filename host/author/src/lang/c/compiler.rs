//! The C compiler for WebAssembly: the machine's clang if it works, otherwise zig's, downloaded as a wheel.
use crate::tools::{Wheel, WheelFile};
use crate::{BuildError, Language, Tools};
use hotshoe_devkit::{CommandError, Progress, process};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable for the compiler: `zig`, or the path of a clang.
const CHOICE: &str = "HOTSHOE_CC";
const ZIG_WORD: &str = "zig";
/// The environment variable for the folder of wasi-sdk.
const WASI_SDK: &str = "WASI_SDK_PATH";
/// The folders of WASI's C library: clang's default, Debian's, and that of Fedora and Arch.
const SYSROOTS: [Option<&str>; 3] = [None, Some("/usr"), Some("/usr/share/wasi-sysroot")];
const TARGET: &str = "--target=wasm32-wasi";
/// The stack size, as in Rust; with the stack below the data, an overflow traps and overwrites nothing.
const STACK: &str = "-Wl,-z,stack-size=1048576";
const ADVICE: &str = "install clang, lld and WASI's C library (Debian: clang lld wasi-libc libc++-dev-wasm32 libclang-rt-dev-wasm32), \
    or leave HOTSHOE_CC unset";

/// A test program: the compiler and the C library work if it compiles and links.
const TEST_PROGRAM_C: &str = "#include <math.h>\n#include <stdlib.h>\nvoid *trial(double x) { return malloc((size_t)exp(x)); }\n";
/// The test program for C++.
const TEST_PROGRAM_CPP: &str = "#include <new>\nint *trial() { return new int(1); }\n";

/// A compiler of C and C++ with a C library, in one file for each system.
const ZIG: Wheel = Wheel {
    name: "ziglang",
    version: "0.17.1",
    what: "a C and C++ compiler",
    files: &[
        WheelFile::of_programs(
            "linux",
            "x86_64",
            "manylinux_2_12_x86_64",
            101_083_562,
            "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54",
        ),
        WheelFile::of_programs(
            "linux",
            "aarch64",
            "manylinux_2_17_aarch64",
            98_063_064,
            "b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e",
        ),
        WheelFile::of_programs(
            "macos",
            "aarch64",
            "macosx_13_0_arm64",
            100_390_379,
            "09953b6af7f64168b915180a42774f520f92d86ef6331b28e33915c7e1f0bb23",
        ),
    ],
};

/// A compiler and linker of C and C++ for WebAssembly.
#[derive(Debug)]
pub(super) enum Compiler {
    Clang {
        program: OsString,
        sysroot: Option<&'static str>,
    },
    Zig {
        program: PathBuf,
        /// The cache of the C library that it compiles at first use, shared by all projects.
        cache: PathBuf,
        /// The project's own cache.
        objects: PathBuf,
    },
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clang { program, .. } => f.write_str(&program.to_string_lossy()),
            Self::Zig { .. } => f.write_str("zig cc"),
        }
    }
}

impl Compiler {
    /// The compiler for WebAssembly, with its C library.
    pub(super) fn command(&self, cpp: bool) -> Command {
        match self {
            Self::Clang { program, sysroot } => {
                let mut command = process::clean(program);
                if cpp {
                    command.arg("--driver-mode=g++");
                }
                command.arg(TARGET);
                if let Some(sysroot) = sysroot {
                    command.arg(format!("--sysroot={sysroot}"));
                }
                command
            }
            Self::Zig {
                program,
                cache,
                objects,
            } => {
                let mut command = process::clean(program);
                command
                    .env("ZIG_GLOBAL_CACHE_DIR", cache)
                    .env("ZIG_LOCAL_CACHE_DIR", objects)
                    .arg(if cpp { "c++" } else { "cc" })
                    .arg(TARGET);
                command
            }
        }
    }

    /// Runs a command of [`Self::command`]. After success, its messages go to `warn`.
    pub(super) fn run(
        &self,
        command: &mut Command,
        mut warn: impl FnMut(&str),
    ) -> Result<(), CommandError> {
        let mut said = Vec::new();
        process::run(command, ADVICE, |line| said.push(line.to_owned()))?;
        said.iter().for_each(|line| warn(line));
        Ok(())
    }

    /// The linker options for the stack. Zig puts the stack first by default, and does not know the option for it.
    pub(super) fn stack_options(&self) -> &'static [&'static str] {
        match self {
            Self::Clang { .. } => &[STACK, "-Wl,--stack-first"],
            Self::Zig { .. } => &[STACK],
        }
    }

    /// Checks that it compiles and links for WebAssembly; it may lack a linker or a C library.
    fn works(&self, language: Language, scratch: &Path) -> Result<(), BuildError> {
        let cpp = language == Language::Cpp;
        let (name, text) = if cpp {
            ("trial.cpp", TEST_PROGRAM_CPP)
        } else {
            ("trial.c", TEST_PROGRAM_C)
        };
        let source = scratch.join(name);
        fs::write(&source, text).map_err(BuildError::io(&source))?;
        let mut command = self.command(cpp);
        command
            .args(["-mexec-model=reactor", "-o"])
            .arg(scratch.join("trial.wasm"))
            .arg(&source);
        self.run(&mut command, |_| {})
            .map_err(BuildError::compile(format!("use {self} for WebAssembly")))
    }
}

/// The chosen compiler, or the first that works.
pub(super) fn find(
    language: Language,
    tools: &Tools,
    scratch: &Path,
    progress: &Progress,
) -> Result<Compiler, BuildError> {
    let choice = std::env::var_os(CHOICE).filter(|choice| !choice.is_empty());
    if choice.as_deref().is_some_and(|choice| choice == ZIG_WORD) {
        return zig(tools, scratch, progress);
    }
    let programs = match &choice {
        Some(program) => vec![program.clone()],
        None => clangs(std::env::var_os(WASI_SDK)),
    };
    let mut broken = None;
    for program in programs {
        for sysroot in SYSROOTS {
            let clang = Compiler::Clang {
                program: program.clone(),
                sysroot,
            };
            match clang.works(language, scratch) {
                Ok(()) => return Ok(clang),
                Err(error) if is_missing(&error) => {
                    if choice.is_some() {
                        return Err(error);
                    }
                    break;
                }
                Err(error) => broken = broken.or(Some(error)),
            }
        }
    }
    match broken {
        Some(error) if choice.is_some() => return Err(error),
        Some(_) => {
            progress.say("the installed clang cannot link for WebAssembly; using zig's instead")
        }
        None => {}
    }
    zig(tools, scratch, progress)
}

/// The candidates for a clang, best first.
fn clangs(wasi_sdk: Option<OsString>) -> Vec<OsString> {
    let of_sdk = wasi_sdk
        .filter(|folder| !folder.is_empty())
        .map(|folder| Path::new(&folder).join("bin/clang").into_os_string());
    of_sdk.into_iter().chain(["clang".into()]).collect()
}

fn is_missing(error: &BuildError) -> bool {
    matches!(
        error,
        BuildError::Compile {
            source: CommandError::Missing { .. },
            ..
        }
    )
}

fn zig(tools: &Tools, scratch: &Path, progress: &Progress) -> Result<Compiler, BuildError> {
    let program = tools.wheel(&ZIG)?.join("ziglang").join(ZIG_WORD);
    let cache = tools.folder().join("zig-cache");
    if !cache.is_dir() {
        progress.say("zig first compiles its C library, and its C++ library if needed, once each; this takes a minute or two");
    }
    Ok(Compiler::Zig {
        program,
        cache,
        objects: scratch.join("zig"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wasi_sdk_comes_before_the_systems_clang() {
        assert_eq!(clangs(None), ["clang"]);
        assert_eq!(clangs(Some("".into())), ["clang"]);
        assert_eq!(
            clangs(Some("/opt/wasi-sdk".into())),
            ["/opt/wasi-sdk/bin/clang", "clang"]
        );
    }

    #[test]
    fn both_compilers_target_webassembly() {
        let clang = Compiler::Clang {
            program: "clang".into(),
            sysroot: Some("/usr"),
        };
        let zig = Compiler::Zig {
            program: "zig".into(),
            cache: "cache".into(),
            objects: "objects".into(),
        };
        let words = |compiler: &Compiler, cpp| {
            let command = compiler.command(cpp);
            let words = command.get_args().map(|word| word.to_string_lossy());
            words.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words(&clang, false), "--target=wasm32-wasi --sysroot=/usr");
        assert_eq!(
            words(&clang, true),
            "--driver-mode=g++ --target=wasm32-wasi --sysroot=/usr"
        );
        assert_eq!(words(&zig, false), "cc --target=wasm32-wasi");
        assert_eq!(words(&zig, true), "c++ --target=wasm32-wasi");
    }
}
