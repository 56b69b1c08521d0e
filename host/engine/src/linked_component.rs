use std::sync::Arc;

use hotshoe_trust::{Limits, PIPELINE, World};
use wasmtime::component::{ComponentExportIndex, InstancePre};

use crate::host::{Services, State};
use crate::state::KeptState;

/// A compiled and linked component: what each of its instances is made of.
#[derive(Clone)]
pub(crate) struct LinkedComponent {
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) services: Arc<Services>,
    /// None without the grant `state`.
    pub(crate) state: Option<Arc<KeptState>>,
    pub(crate) pre: InstancePre<State>,
    pub(crate) entry: Entry,
}

/// The one exported function that a component's world has, of whichever version.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) world: World,
    /// Whether it is of a version whose samples can be skipped.
    pub(crate) skips: bool,
    pub(crate) function: ComponentExportIndex,
}

impl Entry {
    pub(crate) fn of(
        world: World,
        export: &str,
        compiled: &wasmtime::component::Component,
    ) -> wasmtime::Result<Self> {
        let name = function_of(world);
        let function = compiled
            .get_export_index(None, export)
            .and_then(|interface| compiled.get_export_index(Some(&interface), name))
            .ok_or_else(|| {
                wasmtime::format_err!("instance export `{export}` does not have export `{name}`")
            })?;
        let skips = !export.ends_with(PIPELINE.oldest);
        Ok(Self {
            world,
            skips,
            function,
        })
    }
}

const fn function_of(world: World) -> &'static str {
    match world {
        World::Filter => "admit",
        World::Preprocessor => "prepare",
        World::Postprocessor => "interpret",
        World::Policy => "decide",
        World::Stage => "process",
        World::Governor => "govern",
    }
}
