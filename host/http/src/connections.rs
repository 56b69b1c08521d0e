//! The current connections, and the eviction of idle ones.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::activity::Activity;
use crate::options::Limits;

/// The bits of an IPv6 address that its owner can choose freely.
const HOST_BITS: u32 = 64;

/// The group of addresses whose connections are counted together; none for loopback, because programs on this machine share one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AddressGroup(Option<u128>);

impl AddressGroup {
    fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self((!address.is_loopback()).then(|| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits() >> HOST_BITS << HOST_BITS,
        }))
    }
}

#[derive(Debug)]
struct Record {
    group: AddressGroup,
    activity: Arc<Activity>,
    /// Whether it was evicted, and is about to end.
    ending: bool,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<u64, Record>,
    next: u64,
}

/// The connections of a front.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    state: Mutex<State>,
    /// Notified when a connection has ended, or can be evicted.
    pub(crate) capacity: Arc<Notify>,
}

/// The decision about a new connection.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It is admitted.
    Admitted(ConnectionGuard),
    /// It must wait until there is capacity.
    Full,
    /// Its address has too many connections, all of them busy.
    AddressFull,
}

/// The entry of a connection, removed on drop.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    connections: Arc<Connections>,
    id: u64,
    pub(crate) activity: Arc<Activity>,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The number of connections.
    pub(crate) fn count(&self) -> usize {
        self.lock().records.len()
    }

    /// Admits a connection. Without capacity, evicts the connection that has been idle longest.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Admission {
        let group = AddressGroup::of(address);
        let mut state = self.lock();
        let same_group = state.records.values().filter(|s| s.group == group);
        let (mut near, mut leaving) = (0, 0);
        for record in same_group {
            near += 1;
            leaving += usize::from(record.ending);
        }
        if group.0.is_some() && near >= limits.connections_per_address.max(1) {
            let will_free = leaving > 0 || state.evict(|record| record.group == group);
            return if will_free {
                Admission::Full
            } else {
                Admission::AddressFull
            };
        }
        let ending = state.records.values().filter(|s| s.ending).count();
        if state.records.len() >= limits.connections.max(1) {
            if state.records.len() - ending >= limits.connections.max(1) {
                state.evict(|_| true);
            }
            return Admission::Full;
        }
        let id = state.next;
        state.next += 1;
        let activity = Arc::new(Activity::new(Arc::clone(&self.capacity)));
        let record = Record {
            group,
            activity: Arc::clone(&activity),
            ending: false,
        };
        state.records.insert(id, record);
        drop(state);
        Admission::Admitted(ConnectionGuard {
            connections: Arc::clone(self),
            id,
            activity,
        })
    }

    /// Evicts an eighth of the connections: those that have been idle longest.
    pub(crate) fn shed(&self) {
        let mut state = self.lock();
        for _ in 0..state.records.len().div_ceil(8) {
            state.evict(|_| true);
        }
    }
}

impl State {
    /// Evicts the longest idle connection that matches. Returns whether there is one.
    fn evict(&mut self, may: impl Fn(&Record) -> bool) -> bool {
        let idle = self
            .records
            .values_mut()
            .filter(|record| !record.ending && may(record));
        let idle = idle.filter_map(|record| Some((record.activity.idle()?, record)));
        let Some((_, record)) = idle.min_by_key(|(since, _)| *since) else {
            return false;
        };
        record.ending = true;
        record.activity.evict();
        true
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.connections.lock().records.remove(&self.id);
        self.connections.capacity.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        reason = "tests"
    )]

    use super::*;
    use crate::activity::ActiveRequest;

    fn limits(connections: usize, connections_per_address: usize) -> Limits {
        Limits {
            connections,
            connections_per_address,
            ..Limits::default()
        }
    }

    fn admitted(entry: Admission) -> ConnectionGuard {
        match entry {
            Admission::Admitted(guard) => guard,
            other => panic!("{other:?}"),
        }
    }

    fn ending(connections: &Connections) -> Vec<u64> {
        let state = connections.lock();
        let ending = state.records.iter().filter(|(_, record)| record.ending);
        ending.map(|(id, _)| *id).collect()
    }

    #[test]
    fn the_longest_idle_connection_is_evicted_and_busy_ones_are_not() {
        let (connections, limits) = (Arc::new(Connections::default()), limits(3, 3));
        let here = IpAddr::from([127, 0, 0, 1]);
        let mut all: Vec<_> = (0..3)
            .map(|_| admitted(connections.enter(here, &limits)))
            .collect();
        // The first one is busy, the second one had a request, the third one never did.
        let asked = ActiveRequest::new(Arc::clone(&all[0].activity));
        all[1].activity.admitted_request();
        assert!(matches!(connections.enter(here, &limits), Admission::Full));
        assert_eq!(ending(&connections), [2]);
        // While it ends, no other one is evicted for the same newcomer.
        assert!(matches!(connections.enter(here, &limits), Admission::Full));
        assert_eq!(ending(&connections), [2]);
        drop(all.pop());
        let newcomer = admitted(connections.enter(here, &limits));
        newcomer.activity.admitted_request();
        assert!(matches!(connections.enter(here, &limits), Admission::Full));
        assert_eq!(ending(&connections), [1]);
        drop(all.pop());
        let busy = ActiveRequest::new(Arc::clone(&newcomer.activity));
        let third = admitted(connections.enter(here, &limits));
        let third = ActiveRequest::new(Arc::clone(&third.activity));
        assert!(matches!(connections.enter(here, &limits), Admission::Full));
        drop((asked, busy, third));
    }

    #[test]
    fn one_address_does_not_take_all_connections() {
        let (connections, limits) = (Arc::new(Connections::default()), limits(8, 2));
        let busy = |address: &str| {
            let guard = admitted(connections.enter(address.parse().unwrap(), &limits));
            let asked = ActiveRequest::new(Arc::clone(&guard.activity));
            (guard, asked)
        };
        let first = [busy("192.0.2.1"), busy("::ffff:192.0.2.1")];
        let address_full = connections.enter("192.0.2.1".parse().unwrap(), &limits);
        assert!(matches!(address_full, Admission::AddressFull));
        // One network of 64 bits is one group, whatever addresses it takes.
        let second = [busy("2001:db8::1"), busy("2001:db8::ffff:1")];
        let address_full = connections.enter("2001:db8:0:0:9::1".parse().unwrap(), &limits);
        assert!(matches!(address_full, Admission::AddressFull));
        let others = [
            busy("2001:db8:0:1::1"),
            busy("192.0.2.2"),
            busy("127.0.0.1"),
            busy("::1"),
        ];
        assert_eq!(connections.count(), 8);
        drop((first, second, others));
        assert_eq!(connections.count(), 0);
    }

    #[test]
    fn an_idle_connection_of_the_same_address_is_evicted_first() {
        let (connections, limits) = (Arc::new(Connections::default()), limits(8, 2));
        let address = |text: &str| text.parse().unwrap();
        let other = admitted(connections.enter(address("192.0.2.9"), &limits));
        let kept = [
            admitted(connections.enter(address("192.0.2.1"), &limits)),
            admitted(connections.enter(address("192.0.2.1"), &limits)),
        ];
        assert!(matches!(
            connections.enter(address("192.0.2.1"), &limits),
            Admission::Full
        ));
        assert_eq!(ending(&connections), [1]);
        drop((other, kept));
    }
}
