//! `samples`, linked by hand: a payload is copied once, into the component's memory.

use std::sync::Arc;

use hotshoe_trust::PIPELINE;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    ComponentNamedList, Linker, LinkerInstance, Lower, Resource, ResourceType,
};

use super::State;
use crate::sample::Sample;

type Caller<'a> = StoreContextMut<'a, State>;

/// Links `samples` of a version.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, version: &str) -> wasmtime::Result<()> {
    let interface = &mut linker.instance(&PIPELINE.interface("samples", version))?;
    interface.resource(
        "sample",
        ResourceType::host::<Sample>(),
        |mut caller: Caller<'_>, index| {
            let sample = Resource::<Sample>::new_own(index);
            caller.data_mut().table.delete(sample)?;
            Ok(())
        },
    )?;
    add(interface, "[method]sample.id", |s| (s.id.clone(),))?;
    add(interface, "[method]sample.source", |s| (s.source.clone(),))?;
    add(interface, "[method]sample.content-type", |s| {
        (s.content_type.clone(),)
    })?;
    add(interface, "[method]sample.timestamp", |s| (s.timestamp_us,))?;
    add(interface, "[method]sample.size", |s| {
        (s.payload.len() as u64,)
    })?;
    add(interface, "[method]sample.read", |s| {
        (Arc::clone(&s.payload),)
    })
}

/// Links a getter of a sample.
fn add<T>(
    interface: &mut LinkerInstance<'_, State>,
    name: &str,
    property: fn(&Sample) -> T,
) -> wasmtime::Result<()>
where
    T: ComponentNamedList + Lower + 'static,
{
    interface.func_wrap(
        name,
        move |caller: Caller<'_>, (sample,): (Resource<Sample>,)| {
            Ok(property(caller.data().table.get(&sample)?))
        },
    )
}
