//! WASI 0.2 for components that are granted it: clocks, random numbers, lines to the log, and the folders and hosts that the release lists.
//! No environment, no arguments, and no wait past the deadline.

mod config;
mod files;
mod http;
mod network;
mod sockets;
mod stdio;
mod streams;
mod tls;

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, ReaddirIterator, TcpSocket};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, filesystem};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::bindings::hotshoe::pipeline::log::Level;
use super::{Services, State};
use crate::call_end::CallEnd;

pub(crate) use config::WasiConfig;

/// Most files, folders, directory streams, sockets and streams that one instance may have open: each may take a file descriptor or memory of
/// the daemon.
const MAX_OPEN: usize = 64;
/// Most random bytes of one call, since the deadline does not interrupt it: 1 MiB.
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// The WASI state of one instance.
pub(crate) struct Wasi {
    ctx: WasiCtx,
    http: WasiHttpCtx,
    hooks: http::Hooks,
    network: Arc<network::NetworkAccess>,
    /// The names that are being resolved, by the handles of the lookups.
    lookups: BTreeMap<u32, String>,
}

impl Wasi {
    fn open(services: &Arc<Services>) -> Result<Self, CallEnd> {
        let config = services.wasi();
        let network = network::NetworkAccess::new(services);
        let mut ctx = WasiCtx::builder();
        ctx.stdout(stdio::LogLines::new(services, Level::Info))
            .stderr(stdio::LogLines::new(services, Level::Warn))
            .max_random_size(MAX_RANDOM_BYTES);
        for folder in &config.folders {
            ctx.preopened_dir(&folder.host_path, &folder.guest_path, folder.permissions)
                .map_err(|source| CallEnd::Folder {
                    path: folder.guest_path.clone(),
                    reason: format!("{source:#}"),
                })?;
        }
        if config.sockets {
            ctx.allow_tcp(true).allow_ip_name_lookup(true);
            let network = Arc::clone(&network);
            ctx.socket_addr_check(move |address, purpose| {
                let allowed = network.allows(address, purpose);
                Box::pin(std::future::ready(allowed))
            });
        }
        Ok(Self {
            ctx: ctx.allow_udp(false).build(),
            http: WasiHttpCtx::new(),
            hooks: http::Hooks::new(services, &network),
            network,
            lookups: BTreeMap::new(),
        })
    }
}

impl State {
    /// Opens the folders of a component with the grant `wasi`.
    pub(crate) fn open_wasi(&mut self) -> Result<(), CallEnd> {
        if self.wasi.is_none() && self.services.wasi().granted {
            self.wasi = Some(Wasi::open(&self.services)?);
        }
        Ok(())
    }

    /// Number of open resources that [`MAX_OPEN`] bounds.
    fn open_count(&mut self) -> usize {
        let is_open = |entry: &&mut (dyn std::any::Any + Send)| {
            entry.is::<filesystem::Descriptor>()
                || entry.is::<TcpSocket>()
                || entry.is::<DynInputStream>()
                || entry.is::<DynOutputStream>()
                || entry.is::<ReaddirIterator>()
        };
        self.table.iter_mut().filter(is_open).count()
    }

    /// Whether one more may be opened. If not, it is logged.
    fn may_open(&mut self) -> bool {
        let fits = self.open_count() < MAX_OPEN;
        if !fits {
            let message = format!(
                "has {MAX_OPEN} files, sockets and streams open, which is the limit: close some"
            );
            self.services.write_log(Level::Warn, message);
        }
        fits
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self
            .wasi
            .get_or_insert_with(|| Wasi::without_grant(&self.services));
        WasiCtxView {
            ctx: &mut wasi.ctx,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let wasi = self
            .wasi
            .get_or_insert_with(|| Wasi::without_grant(&self.services));
        WasiHttpCtxView {
            hooks: &mut wasi.hooks,
            table: &mut self.table,
            ctx: &mut wasi.http,
        }
    }
}

impl Wasi {
    /// For an instance without the grant, which has no WASI interface linked.
    fn without_grant(services: &Arc<Services>) -> Self {
        let network = network::NetworkAccess::new(services);
        Self {
            ctx: WasiCtx::builder().build(),
            http: WasiHttpCtx::new(),
            hooks: http::Hooks::new(services, &network),
            network,
            lookups: BTreeMap::new(),
        }
    }
}

/// Links all of WASI 0.2, and replaces the calls that wait, that open something, and that resolve names. Epochs interrupt a guest, but not a
/// host function that waits.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    linker.allow_shadowing(true);
    streams::add_to_linker(linker)?;
    files::add_to_linker(linker)?;
    sockets::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Links the outgoing half of `wasi:http`: a component sends requests and does not receive any.
pub(crate) fn add_http_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_sync(linker)
}

/// Runs an operation that may wait, until the deadline, which ends the call.
fn within<T>(
    state: &mut State,
    run: impl AsyncFnOnce(&mut ResourceTable) -> T,
) -> wasmtime::Result<T> {
    let deadline = tokio::time::Instant::from_std(state.deadline);
    let table = &mut state.table;
    let done = wasmtime_wasi::runtime::in_tokio(async {
        tokio::time::timeout_at(deadline, run(table)).await
    });
    done.map_err(|_| wasmtime::Trap::Interrupt.into())
}
