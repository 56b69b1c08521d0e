//! Downloads what the demo and the tests need into a checkout, while cargo compiles the rest.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use hotshoe_devkit::{Progress, fetch_all};

fn main() -> ExitCode {
    let Some(root) = std::env::args_os().nth(1) else {
        eprintln!("usage: hotshoe-fetch CHECKOUT");
        return ExitCode::from(2);
    };
    match fetch_all(Path::new(&root), &Progress::plain()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
