//! WASI 0.2 for components that cannot do without: no network, no environment, no directories, and no wait past the deadline.

use std::thread;
use std::time::{Duration, Instant};

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::sync::io::poll::HostPollable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::State;

/// The interface whose calls wait, under the version that `wasmtime-wasi` links.
const POLL: &str = "wasi:io/poll@0.2.12";
/// Between two looks at what a component waits for.
const LOOK: Duration = Duration::from_millis(1);

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            // The default has no arguments, no environment, no directories and no network; output goes nowhere.
            ctx: self.wasi.get_or_insert_with(|| WasiCtx::builder().build()),
            table: &mut self.table,
        }
    }
}

/// Links all of WASI 0.2, with its two waiting calls replaced: epochs interrupt a guest, but not a host that waits for it.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    linker.allow_shadowing(true);
    let mut poll = linker.instance(POLL)?;
    poll.func_wrap(
        "[method]pollable.block",
        |mut store: StoreContextMut<'_, State>, (pollable,): (Resource<DynPollable>,)| {
            wait(store.data_mut(), &[pollable]).map(drop)
        },
    )?;
    poll.func_wrap(
        "poll",
        |mut store: StoreContextMut<'_, State>, (pollables,): (Vec<Resource<DynPollable>>,)| {
            Ok((wait(store.data_mut(), &pollables)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Waits until one of these is ready, and returns the positions of those that are; past the deadline it ends the call.
fn wait(state: &mut State, pollables: &[Resource<DynPollable>]) -> wasmtime::Result<Vec<u32>> {
    loop {
        let mut ready = Vec::new();
        for (position, pollable) in (0..).zip(pollables) {
            if HostPollable::ready(&mut state.table, Resource::new_borrow(pollable.rep()))? {
                ready.push(position);
            }
        }
        if !ready.is_empty() {
            return Ok(ready);
        }
        if Instant::now() >= state.deadline {
            return Err(wasmtime::Trap::Interrupt.into());
        }
        thread::sleep(LOOK);
    }
}
