//! The program as a command: `classify MODEL PICTURE.ppm`, for `wasm32-wasip2` and any host that runs commands and has `wasi:nn`.

use std::env;
use std::error::Error;
use std::fs;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(model), Some(picture)) = (arguments.next(), arguments.next()) else {
        return Err("give the name of a model and a PPM file".into());
    };
    for (label, score) in wasi_nn_classic::classify(&model, &fs::read(picture)?)? {
        println!("{label} {score}");
    }
    Ok(())
}
