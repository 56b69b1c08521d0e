//! `wasi:filesystem` with a bound on open files and directory streams, and a deadline for opening them.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::WasiFilesystemView as _;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Descriptor, DescriptorFlags, DirectoryEntryStream, ErrorCode, HostDescriptor, OpenFlags,
    PathFlags,
};
use wasmtime_wasi::runtime::in_tokio;

use super::super::State;

/// The interface, under the version that `wasmtime-wasi` links.
const TYPES: &str = "wasi:filesystem/types@0.2.12";

type Opened = (Result<Resource<Descriptor>, ErrorCode>,);
type Listed = (Result<Resource<DirectoryEntryStream>, ErrorCode>,);
type Arguments = (
    Resource<Descriptor>,
    PathFlags,
    String,
    OpenFlags,
    DescriptorFlags,
);

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[method]descriptor.open-at",
        |mut store: StoreContextMut<'_, State>, arguments: Arguments| {
            open(store.data_mut(), arguments)
        },
    )?;
    types.func_wrap(
        "[method]descriptor.read-directory",
        |mut store: StoreContextMut<'_, State>, (folder,): (Resource<Descriptor>,)| {
            list(store.data_mut(), folder)
        },
    )
}

/// The library reads the whole folder at once and keeps its names, so that many streams of a large folder would have no bound.
fn list(state: &mut State, folder: Resource<Descriptor>) -> wasmtime::Result<Listed> {
    if !state.may_open() {
        return Ok((Err(ErrorCode::Quota),));
    }
    let deadline = tokio::time::Instant::from_std(state.deadline);
    let mut files = state.filesystem();
    let listed = in_tokio(async {
        tokio::time::timeout_at(deadline, HostDescriptor::read_directory(&mut files, folder)).await
    });
    match listed {
        Err(_) => Err(wasmtime::Trap::Interrupt.into()),
        Ok(Ok(list)) => Ok((Ok(list),)),
        Ok(Err(error)) => Ok((Err(error.downcast()?),)),
    }
}

/// Opening may block, for example on a named pipe.
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
