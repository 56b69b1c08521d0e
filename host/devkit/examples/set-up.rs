//! Sets up a checkout and prints its paths: `cargo run -p hotshoe-devkit --example set-up [FOLDER]`.
#![forbid(unsafe_code)]

use hotshoe_devkit::{Extra, Progress, fetch, find_root, set_up};
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let start = match std::env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_dir()?,
    };
    let root = find_root(&start).ok_or("this is not inside a checkout of Hotshoe")?;
    let environment = set_up(&root, &Progress::automatic())?;
    println!("{environment:#?}");
    // The models of the other examples.
    for extra in [Extra::Faces, Extra::SileroVad] {
        println!("{}", fetch(&root, extra, &Progress::automatic())?.display());
    }
    Ok(())
}
