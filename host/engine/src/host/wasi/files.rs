//! `wasi:filesystem`: the number of open files is bounded, and so is the wait for one.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::WasiFilesystemView as _;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
};
use wasmtime_wasi::runtime::in_tokio;

use super::super::State;

/// The interface, under the version that `wasmtime-wasi` links.
const TYPES: &str = "wasi:filesystem/types@0.2.12";

type Opened = (Result<Resource<Descriptor>, ErrorCode>,);
type Arguments = (
    Resource<Descriptor>,
    PathFlags,
    String,
    OpenFlags,
    DescriptorFlags,
);

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.instance(TYPES)?.func_wrap(
        "[method]descriptor.open-at",
        |mut store: StoreContextMut<'_, State>, arguments: Arguments| {
            open(store.data_mut(), arguments)
        },
    )
}

/// Opening may wait, for whoever writes into a named pipe for example.
fn open(
    state: &mut State,
    (folder, follow, path, how, flags): Arguments,
) -> wasmtime::Result<Opened> {
    if !state.may_open() {
        return Ok((Err(ErrorCode::Quota),));
    }
    let deadline = tokio::time::Instant::from_std(state.deadline);
    let mut files = state.filesystem();
    let opened = in_tokio(async {
        let opening = HostDescriptor::open_at(&mut files, folder, follow, path, how, flags);
        tokio::time::timeout_at(deadline, opening).await
    });
    match opened {
        Err(_) => Err(wasmtime::Trap::Interrupt.into()),
        Ok(Ok(file)) => Ok((Ok(file),)),
        Ok(Err(error)) => Ok((Err(error.downcast()?),)),
    }
}
