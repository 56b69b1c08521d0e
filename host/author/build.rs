//! Tells cargo that the templates, the SDK and the WIT files are part of this crate.
fn main() {
    for folder in ["../../sdk", "../../wit"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
