//! The bindings that wit-bindgen generates for the imports in `wit/`. The exports are in `worlds`, one module for each world.
#![allow(
    missing_docs,
    clippy::all,
    clippy::restriction,
    reason = "generated; the documentation is in wit/"
)]

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package hotshoe:sdk;
        world imports {
            include hotshoe:pipeline/imports@0.1.0;
        }
    ",
    world: "hotshoe:sdk/imports",
    generate_all,
});
