//! The governor in a real daemon: a recorded tree of sensors that the test rewrites, while samples stream. The results say which mode ran.

#[path = "governor/backend.rs"]
mod backend;
#[path = "governor/battery.rs"]
mod battery;
#[path = "governor/heat.rs"]
mod heat;
#[path = "governor/heat_wave.rs"]
mod heat_wave;
#[path = "governor/late.rs"]
mod late;
#[path = "governor/power.rs"]
mod power;
#[path = "governor/scene.rs"]
mod scene;
#[path = "governor/sensors.rs"]
mod sensors;
#[path = "governor/tree.rs"]
pub(crate) mod tree;
#[path = "governor/unruly.rs"]
mod unruly;
