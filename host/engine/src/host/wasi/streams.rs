//! `wasi:io`: every call that waits ends at the deadline.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::StreamResult;
use wasmtime_wasi::p2::bindings::io::poll::{Host as _, HostPollable as _, Pollable};
use wasmtime_wasi::p2::bindings::io::streams::{
    Host as _, HostInputStream as _, HostOutputStream as _, InputStream, OutputStream, StreamError,
};

use super::super::State;
use super::within;

/// The interfaces, under the version that `wasmtime-wasi` links.
const POLL: &str = "wasi:io/poll@0.2.12";
const STREAMS: &str = "wasi:io/streams@0.2.12";

type Store<'a> = StoreContextMut<'a, State>;
type Input = Resource<InputStream>;
type Output = Resource<OutputStream>;

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut poll = linker.instance(POLL)?;
    poll.func_wrap(
        "[method]pollable.block",
        |mut store: Store<'_>, (pollable,): (Resource<Pollable>,)| {
            within(store.data_mut(), async |table| table.block(pollable).await)?
        },
    )?;
    poll.func_wrap(
        "poll",
        |mut store: Store<'_>, (pollables,): (Vec<Resource<Pollable>>,)| {
            let ready = within(store.data_mut(), async |table| table.poll(pollables).await)?;
            Ok((ready?,))
        },
    )?;
    let mut streams = linker.instance(STREAMS)?;
    streams.func_wrap(
        "[method]input-stream.blocking-read",
        |mut store: Store<'_>, (stream, len): (Input, u64)| {
            wait(&mut store, async |table| {
                table.blocking_read(stream, len).await
            })
        },
    )?;
    streams.func_wrap(
        "[method]input-stream.blocking-skip",
        |mut store: Store<'_>, (stream, len): (Input, u64)| {
            wait(&mut store, async |table| {
                table.blocking_skip(stream, len).await
            })
        },
    )?;
    streams.func_wrap(
        "[method]output-stream.blocking-write-and-flush",
        |mut store: Store<'_>, (stream, bytes): (Output, Vec<u8>)| {
            wait(&mut store, async |table| {
                table.blocking_write_and_flush(stream, bytes).await
            })
        },
    )?;
    streams.func_wrap(
        "[method]output-stream.blocking-write-zeroes-and-flush",
        |mut store: Store<'_>, (stream, len): (Output, u64)| {
            wait(&mut store, async |table| {
                table.blocking_write_zeroes_and_flush(stream, len).await
            })
        },
    )?;
    streams.func_wrap(
        "[method]output-stream.blocking-flush",
        |mut store: Store<'_>, (stream,): (Output,)| {
            wait(&mut store, async |table| table.blocking_flush(stream).await)
        },
    )?;
    streams.func_wrap(
        "[method]output-stream.blocking-splice",
        |mut store: Store<'_>, (to, from, len): (Output, Input, u64)| {
            wait(&mut store, async |table| {
                table.blocking_splice(to, from, len).await
            })
        },
    )
}

/// Runs a call of a stream, and converts its error for the component.
fn wait<T>(
    store: &mut Store<'_>,
    run: impl AsyncFnOnce(&mut ResourceTable) -> StreamResult<T>,
) -> wasmtime::Result<(Result<T, StreamError>,)> {
    let state = store.data_mut();
    match within(state, run)? {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(state.table.convert_stream_error(error)?),)),
    }
}
