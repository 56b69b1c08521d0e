//! Who is connected, and who has to make room for whom.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::activity::Activity;
use crate::options::Limits;

/// The bits of an IPv6 address that its owner chooses.
const HOST_BITS: u32 = 64;

/// Whose connections are counted together. Programs on this machine share one address, so theirs are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Neighbour(Option<u128>);

impl Neighbour {
    fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self((!address.is_loopback()).then(|| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits() >> HOST_BITS << HOST_BITS,
        }))
    }
}

#[derive(Debug)]
struct Seat {
    neighbour: Neighbour,
    activity: Arc<Activity>,
    /// It was told to make room, and is about to end.
    ending: bool,
}

#[derive(Debug, Default)]
struct Table {
    seats: BTreeMap<u64, Seat>,
    next: u64,
}

/// The connections of a door.
#[derive(Debug, Default)]
pub(crate) struct Places {
    table: Mutex<Table>,
    /// Told when a connection has ended, or could make room.
    pub(crate) room: Arc<Notify>,
}

/// What becomes of a new connection.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It has a place.
    Placed(Place),
    /// It has to wait until there is room.
    Full,
    /// Its address has too many connections, all of them busy.
    Crowded,
}

/// The place of a connection, until it ends.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    id: u64,
    pub(crate) activity: Arc<Activity>,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are connected.
    pub(crate) fn count(&self) -> usize {
        self.lock().seats.len()
    }

    /// Takes a connection in. Where there is no room, the idle one that has waited longest is told to make some.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Entry {
        let neighbour = Neighbour::of(address);
        let mut table = self.lock();
        let neighbours = table.seats.values().filter(|s| s.neighbour == neighbour);
        let (mut near, mut leaving) = (0, 0);
        for seat in neighbours {
            near += 1;
            leaving += usize::from(seat.ending);
        }
        if neighbour.0.is_some() && near >= limits.connections_per_address.max(1) {
            let makes_room = leaving > 0 || table.evict(|seat| seat.neighbour == neighbour);
            return if makes_room {
                Entry::Full
            } else {
                Entry::Crowded
            };
        }
        let ending = table.seats.values().filter(|s| s.ending).count();
        if table.seats.len() >= limits.connections.max(1) {
            if table.seats.len() - ending >= limits.connections.max(1) {
                table.evict(|_| true);
            }
            return Entry::Full;
        }
        let id = table.next;
        table.next += 1;
        let activity = Arc::new(Activity::new(Arc::clone(&self.room)));
        let seat = Seat {
            neighbour,
            activity: Arc::clone(&activity),
            ending: false,
        };
        table.seats.insert(id, seat);
        drop(table);
        Entry::Placed(Place {
            places: Arc::clone(self),
            id,
            activity,
        })
    }

    /// Tells an eighth of the connections to end, those that have been idle longest.
    pub(crate) fn make_room(&self) {
        let mut table = self.lock();
        for _ in 0..table.seats.len().div_ceil(8) {
            table.evict(|_| true);
        }
    }
}

impl Table {
    /// Whether one of these makes room.
    fn evict(&mut self, may: impl Fn(&Seat) -> bool) -> bool {
        let idle = self
            .seats
            .values_mut()
            .filter(|seat| !seat.ending && may(seat));
        let idle = idle.filter_map(|seat| Some((seat.activity.idle()?, seat)));
        let Some((_, seat)) = idle.min_by_key(|(since, _)| *since) else {
            return false;
        };
        seat.ending = true;
        seat.activity.evict();
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().seats.remove(&self.id);
        self.places.room.notify_one();
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
    use crate::activity::Asked;

    fn limits(connections: usize, connections_per_address: usize) -> Limits {
        Limits {
            connections,
            connections_per_address,
            ..Limits::default()
        }
    }

    fn placed(entry: Entry) -> Place {
        match entry {
            Entry::Placed(place) => place,
            other => panic!("{other:?}"),
        }
    }

    fn ending(places: &Places) -> Vec<u64> {
        let table = places.lock();
        let ending = table.seats.iter().filter(|(_, seat)| seat.ending);
        ending.map(|(id, _)| *id).collect()
    }

    #[test]
    fn the_longest_idle_makes_room_and_who_is_answered_does_not() {
        let (places, limits) = (Arc::new(Places::default()), limits(3, 3));
        let here = IpAddr::from([127, 0, 0, 1]);
        let mut all: Vec<_> = (0..3)
            .map(|_| placed(places.enter(here, &limits)))
            .collect();
        // The first one is answered, the second one has asked before, the third one never did.
        let asked = Asked::new(Arc::clone(&all[0].activity));
        all[1].activity.heard();
        assert!(matches!(places.enter(here, &limits), Entry::Full));
        assert_eq!(ending(&places), [2]);
        // While it ends, no other one has to go for the same newcomer.
        assert!(matches!(places.enter(here, &limits), Entry::Full));
        assert_eq!(ending(&places), [2]);
        drop(all.pop());
        let newcomer = placed(places.enter(here, &limits));
        newcomer.activity.heard();
        assert!(matches!(places.enter(here, &limits), Entry::Full));
        assert_eq!(ending(&places), [1]);
        drop(all.pop());
        let busy = Asked::new(Arc::clone(&newcomer.activity));
        let third = placed(places.enter(here, &limits));
        let third = Asked::new(Arc::clone(&third.activity));
        assert!(matches!(places.enter(here, &limits), Entry::Full));
        drop((asked, busy, third));
    }

    #[test]
    fn one_address_does_not_take_all_places() {
        let (places, limits) = (Arc::new(Places::default()), limits(8, 2));
        let busy = |address: &str| {
            let place = placed(places.enter(address.parse().unwrap(), &limits));
            let asked = Asked::new(Arc::clone(&place.activity));
            (place, asked)
        };
        let first = [busy("192.0.2.1"), busy("::ffff:192.0.2.1")];
        let crowded = places.enter("192.0.2.1".parse().unwrap(), &limits);
        assert!(matches!(crowded, Entry::Crowded));
        // One network of 64 bits is one neighbour, whatever addresses it takes.
        let second = [busy("2001:db8::1"), busy("2001:db8::ffff:1")];
        let crowded = places.enter("2001:db8:0:0:9::1".parse().unwrap(), &limits);
        assert!(matches!(crowded, Entry::Crowded));
        let others = [
            busy("2001:db8:0:1::1"),
            busy("192.0.2.2"),
            busy("127.0.0.1"),
            busy("::1"),
        ];
        assert_eq!(places.count(), 8);
        drop((first, second, others));
        assert_eq!(places.count(), 0);
    }

    #[test]
    fn an_idle_connection_makes_room_for_its_own_address_first() {
        let (places, limits) = (Arc::new(Places::default()), limits(8, 2));
        let address = |text: &str| text.parse().unwrap();
        let other = placed(places.enter(address("192.0.2.9"), &limits));
        let kept = [
            placed(places.enter(address("192.0.2.1"), &limits)),
            placed(places.enter(address("192.0.2.1"), &limits)),
        ];
        assert!(matches!(
            places.enter(address("192.0.2.1"), &limits),
            Entry::Full
        ));
        assert_eq!(ending(&places), [1]);
        drop((other, kept));
    }
}
