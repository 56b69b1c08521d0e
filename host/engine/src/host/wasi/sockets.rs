//! `wasi:sockets`: only listed names are resolved, and the number of sockets is bounded.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{
    Host as _, HostResolveAddressStream as _, ResolveAddressStream,
};
use wasmtime_wasi::p2::bindings::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, Network,
};
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket::{Host as _, TcpSocket};
use wasmtime_wasi::p2::{SocketError, SocketResult};
use wasmtime_wasi::sockets::WasiSocketsView as _;

use super::super::State;

/// The interfaces, under the version that `wasmtime-wasi` links.
const LOOKUP: &str = "wasi:sockets/ip-name-lookup@0.2.12";
const CREATE: &str = "wasi:sockets/tcp-create-socket@0.2.12";
/// Most concurrent name lookups of one instance: each takes a thread.
const MAX_LOOKUPS: usize = 8;

type SocketResponse<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut lookup = linker.instance(LOOKUP)?;
    lookup.func_wrap(
        "resolve-addresses",
        |mut store: StoreContextMut<'_, State>, (network, name): (Resource<Network>, String)| {
            answer(look_up(store.data_mut(), network, name))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: StoreContextMut<'_, State>, (stream,): (Resource<ResolveAddressStream>,)| {
            answer(next(store.data_mut(), &stream))
        },
    )?;
    linker.instance(CREATE)?.func_wrap(
        "create-tcp-socket",
        |mut store: StoreContextMut<'_, State>, (family,): (IpAddressFamily,)| {
            answer(create(store.data_mut(), family))
        },
    )
}

fn answer<T>(result: SocketResult<T>) -> SocketResponse<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

fn create(state: &mut State, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
    if !state.may_open() {
        return Err(ErrorCode::NewSocketLimit.into());
    }
    state.sockets().create_tcp_socket(family)
}

fn look_up(
    state: &mut State,
    network: Resource<Network>,
    name: String,
) -> SocketResult<Resource<ResolveAddressStream>> {
    let name = name.to_ascii_lowercase();
    if let Some(wasi) = &mut state.wasi {
        // An address needs no lookup, and is checked when it is connected to.
        let is_address = name
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok();
        if !is_address && !wasi.network.lists_name(&name) {
            let name: String = name.chars().take(80).collect();
            wasi.network.log_refusal(
                &format!("looking up `{}`", name.escape_debug()),
                &format!("{name}:PORT"),
            );
            return Err(ErrorCode::AccessDenied.into());
        }
        let table = &state.table;
        wasi.lookups.retain(|rep, _| {
            table
                .get(&Resource::<ResolveAddressStream>::new_borrow(*rep))
                .is_ok()
        });
        if wasi.lookups.len() >= MAX_LOOKUPS {
            return Err(ErrorCode::TemporaryResolverFailure.into());
        }
    }
    let stream = state.sockets().resolve_addresses(network, name.clone())?;
    if let Some(wasi) = &mut state.wasi {
        wasi.lookups.insert(stream.rep(), name);
    }
    Ok(stream)
}

/// The next address of a name, which may be connected to from then on.
fn next(
    state: &mut State,
    stream: &Resource<ResolveAddressStream>,
) -> Result<Option<IpAddress>, SocketError> {
    let borrowed = Resource::new_borrow(stream.rep());
    let address = state.sockets().resolve_next_address(borrowed)?;
    if let (Some(address), Some(wasi)) = (address, &state.wasi)
        && let Some(name) = wasi.lookups.get(&stream.rep())
    {
        wasi.network.record_address(name, plain(address));
    }
    Ok(address)
}

fn plain(address: IpAddress) -> std::net::IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => std::net::Ipv4Addr::new(a, b, c, d).into(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => {
            std::net::Ipv6Addr::new(a, b, c, d, e, f, g, h).into()
        }
    }
}
