//! Who may be connected at once: a book of seats, without clocks or sockets.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

/// Bounds of the listeners.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once, on all listeners.
    pub sessions: usize,
    /// Connections at once from one IPv4 address or IPv6 /64.
    pub per_address: usize,
    /// Handshakes under way at once, and as many headers of proxies.
    pub handshakes: usize,
    /// From the start of a handshake to its end.
    pub handshake: Duration,
    /// For the client to take one batch of replies.
    pub write: Duration,
    /// For a transaction under way to finish when the server stops.
    pub finish: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sessions: 10_000,
            per_address: 100,
            handshakes: 512,
            handshake: Duration::from_secs(10),
            write: Duration::from_secs(60),
            finish: Duration::from_secs(20),
        }
    }
}

/// How far a connection has come; later ones are worth more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// Behind a proxy that has not said yet for whom: counted for no address.
    Unnamed,
    /// In a TLS handshake.
    Handshake,
    /// Talking in the clear: STARTTLS is still to come.
    Clear,
    /// Talking inside TLS, but not signed in.
    Unproven,
    /// Signed in: never given up for a newcomer.
    SignedIn,
}

/// What the book says to a newcomer; `H` is the handle by which a connection is ended.
#[derive(Debug)]
pub(super) enum Admission<H> {
    /// Sit down; the handle of the connection that gives way, if one must.
    Seated { seat: u64, gives_way: Option<H> },
    /// This address has its share.
    AddressFull,
    /// Every seat is taken by someone signed in.
    HouseFull,
}

struct Seat<H> {
    /// Not known while unnamed.
    network: Option<IpAddr>,
    phase: Phase,
    handle: H,
}

/// The book. Seats are numbered in order of arrival, so the first of a map is the oldest.
pub(super) struct Seats<H> {
    next: u64,
    seats: HashMap<u64, Seat<H>>,
    unnamed: BTreeMap<u64, ()>,
    handshakes: BTreeMap<u64, ()>,
    clear: BTreeMap<u64, ()>,
    unproven: BTreeMap<u64, ()>,
    networks: HashMap<IpAddr, usize>,
}

impl<H> Seats<H> {
    pub fn new() -> Self {
        Seats {
            next: 0,
            seats: HashMap::new(),
            unnamed: BTreeMap::new(),
            handshakes: BTreeMap::new(),
            clear: BTreeMap::new(),
            unproven: BTreeMap::new(),
            networks: HashMap::new(),
        }
    }

    /// Takes a seat for a newcomer in `phase`, sending another away where needed.
    pub fn admit(
        &mut self,
        limits: &Limits,
        peer: IpAddr,
        phase: Phase,
        handle: H,
    ) -> Admission<H> {
        let network = network(peer);
        if self.is_full(limits, network) {
            return Admission::AddressFull;
        }
        self.sit(limits, Some(network), phase, handle)
    }

    /// Takes a seat for a newcomer whose address its proxy has yet to tell.
    pub fn admit_unnamed(&mut self, limits: &Limits, handle: H) -> Admission<H> {
        self.sit(limits, None, Phase::Unnamed, handle)
    }

    /// Notes from where a newcomer is that sat down unnamed, and that it goes on in `phase`. Where
    /// its address has its share it stays unnamed, and is to leave.
    pub fn name(&mut self, limits: &Limits, seat: u64, peer: IpAddr, phase: Phase) -> Admission<H> {
        let network = network(peer);
        if self.is_full(limits, network) {
            return Admission::AddressFull;
        }
        if let Some(entry) = self.seats.get_mut(&seat) {
            entry.network = Some(network);
            *self.networks.entry(network).or_default() += 1;
        }
        let gives_way = self.advance(limits, seat, phase);
        Admission::Seated { seat, gives_way }
    }

    fn is_full(&self, limits: &Limits, network: IpAddr) -> bool {
        self.networks.get(&network).copied().unwrap_or(0) >= limits.per_address
    }

    fn sit(
        &mut self,
        limits: &Limits,
        network: Option<IpAddr>,
        phase: Phase,
        handle: H,
    ) -> Admission<H> {
        let gives_way = if self.seats.len() >= limits.sessions {
            let Some(oldest) = self.oldest_of_the_crowd() else {
                return Admission::HouseFull;
            };
            self.leave(oldest)
        } else {
            self.room_for(limits, phase)
        };
        let seat = self.next;
        self.next += 1;
        if let Some(network) = network {
            *self.networks.entry(network).or_default() += 1;
        }
        self.list(phase).map(|list| list.insert(seat, ()));
        self.seats.insert(
            seat,
            Seat {
                network,
                phase,
                handle,
            },
        );
        Admission::Seated { seat, gives_way }
    }

    /// Notes how far a connection has come; gives the handle of one that must give way.
    pub fn advance(&mut self, limits: &Limits, seat: u64, phase: Phase) -> Option<H> {
        let old = self.seats.get(&seat)?.phase;
        if old == phase {
            return None;
        }
        let gives_way = self.room_for(limits, phase);
        self.list(old).map(|list| list.remove(&seat));
        self.list(phase).map(|list| list.insert(seat, ()));
        if let Some(entry) = self.seats.get_mut(&seat) {
            entry.phase = phase;
        }
        gives_way
    }

    /// Gives a seat back; nothing happens where it was taken away before.
    pub fn leave(&mut self, seat: u64) -> Option<H> {
        let entry = self.seats.remove(&seat)?;
        self.list(entry.phase).map(|list| list.remove(&seat));
        if let Some(network) = entry.network
            && let Some(count) = self.networks.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
        Some(entry.handle)
    }

    /// Seats taken.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Takes the seat of the oldest in a phase that has its fill.
    fn room_for(&mut self, limits: &Limits, phase: Phase) -> Option<H> {
        let crowd = match phase {
            Phase::Unnamed => &self.unnamed,
            Phase::Handshake => &self.handshakes,
            Phase::Clear | Phase::Unproven | Phase::SignedIn => return None,
        };
        if crowd.len() < limits.handshakes {
            return None;
        }
        let oldest = crowd.first_key_value().map(|(seat, ())| *seat)?;
        self.leave(oldest)
    }

    /// Who gives way in a full house: the oldest of those that have come equally far, where there
    /// are most of them. So a flood of one kind drives out its own, and a newcomer, who passes
    /// through every kind on the way to its sign-in, is nowhere the first.
    fn oldest_of_the_crowd(&self) -> Option<u64> {
        let crowds = [&self.unproven, &self.clear, &self.handshakes, &self.unnamed];
        let largest = crowds.into_iter().max_by_key(|crowd| crowd.len())?;
        largest.first_key_value().map(|(seat, ())| *seat)
    }

    fn list(&mut self, phase: Phase) -> Option<&mut BTreeMap<u64, ()>> {
        match phase {
            Phase::Unnamed => Some(&mut self.unnamed),
            Phase::Handshake => Some(&mut self.handshakes),
            Phase::Clear => Some(&mut self.clear),
            Phase::Unproven => Some(&mut self.unproven),
            Phase::SignedIn => None,
        }
    }
}

/// What counts as one address: an IPv4 address, also when mapped into IPv6, or an IPv6 /64.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(sessions: usize, per_address: usize, handshakes: usize) -> Limits {
        Limits {
            sessions,
            per_address,
            handshakes,
            ..Limits::default()
        }
    }

    fn peer(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn seated(admission: Admission<&'static str>) -> (u64, Option<&'static str>) {
        match admission {
            Admission::Seated { seat, gives_way } => (seat, gives_way),
            other => panic!("{other:?}"),
        }
    }

    /// S32: a flood of unfinished handshakes sheds its own oldest, never the newcomer.
    #[test]
    fn handshakes_shed_the_oldest() {
        let (limits, mut book) = (limits(100, 100, 2), Seats::new());
        let mut admit = |name| seated(book.admit(&limits, peer(1), Phase::Handshake, name));
        assert_eq!(admit("a").1, None);
        let (b, _) = admit("b");
        assert_eq!(admit("c").1, Some("a"));
        assert_eq!(book.advance(&limits, b, Phase::Unproven), None);
        let (d, gone) = seated(book.admit(&limits, peer(1), Phase::Unproven, "d"));
        assert_eq!(gone, None);
        // STARTTLS: one handshake is under way, the second has room, the third has not.
        assert_eq!(book.advance(&limits, d, Phase::Handshake), None);
        assert_eq!(book.advance(&limits, b, Phase::Handshake), Some("c"));
        assert_eq!(book.len(), 2);
    }

    /// S33: whatever a flood is made of, the newcomer comes through all the way.
    #[test]
    fn a_flood_of_any_kind_drives_out_its_own() {
        use Phase::{Clear, Handshake, Unnamed, Unproven};
        for kind in [Unnamed, Handshake, Clear, Unproven] {
            let (limits, mut book) = (limits(5, 100, 100), Seats::new());
            let flood = |book: &mut Seats<_>| match kind {
                Unnamed => seated(book.admit_unnamed(&limits, "flood")).1,
                _ => seated(book.admit(&limits, peer(1), kind, "flood")).1,
            };
            for _ in 0..20 {
                flood(&mut book);
            }
            let (newcomer, gone) = seated(book.admit(&limits, peer(2), Phase::Handshake, "new"));
            assert_eq!(gone, Some("flood"), "{kind:?}");
            assert_eq!(flood(&mut book), Some("flood"), "{kind:?}");
            book.advance(&limits, newcomer, Phase::Unproven);
            assert_eq!(flood(&mut book), Some("flood"), "{kind:?}");
            book.advance(&limits, newcomer, Phase::SignedIn);
            assert_eq!(flood(&mut book), Some("flood"), "{kind:?}");
        }
    }

    /// S33: a full house gives up the oldest of the largest crowd, never the signed in.
    #[test]
    fn a_full_house_keeps_those_who_signed_in() {
        let (limits, mut book) = (limits(3, 100, 100), Seats::new());
        let (a, _) = seated(book.admit(&limits, peer(1), Phase::Unproven, "a"));
        book.advance(&limits, a, Phase::SignedIn);
        seated(book.admit(&limits, peer(2), Phase::Unproven, "b"));
        seated(book.admit(&limits, peer(3), Phase::Handshake, "c"));
        let (d, gone) = seated(book.admit(&limits, peer(4), Phase::Unproven, "d"));
        assert_eq!(gone, Some("c"));
        let (e, gone) = seated(book.admit(&limits, peer(5), Phase::Unproven, "e"));
        assert_eq!(gone, Some("b"));
        book.advance(&limits, d, Phase::SignedIn);
        book.advance(&limits, e, Phase::SignedIn);
        assert!(matches!(
            book.admit(&limits, peer(6), Phase::Unproven, "f"),
            Admission::HouseFull
        ));
        assert_eq!(book.len(), 3);
    }

    #[test]
    fn one_address_gets_its_share_and_others_theirs() {
        let (limits, mut book) = (limits(100, 2, 100), Seats::new());
        let mut rows = Vec::new();
        for (address, welcome) in [
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
            ("2001:db8::2", true),
            ("2001:db8::ffff:3", false),
            ("2001:db8:0:1::1", true),
        ] {
            let admission = book.admit(&limits, address.parse().unwrap(), Phase::Unproven, "x");
            assert_eq!(
                matches!(admission, Admission::Seated { .. }),
                welcome,
                "{address}"
            );
            if let Admission::Seated { seat, .. } = admission {
                rows.push(seat);
            }
        }
        for seat in rows {
            assert!(book.leave(seat).is_some());
            assert!(book.leave(seat).is_none());
        }
        assert_eq!((book.len(), book.networks.len()), (0, 0));
        assert!(book.unproven.is_empty() && book.clear.is_empty() && book.handshakes.is_empty());
    }

    /// Behind a proxy a connection counts for its client's address, and for nobody's until then.
    #[test]
    fn a_client_behind_a_proxy_gets_its_own_share() {
        let (limits, mut book) = (limits(100, 1, 100), Seats::new());
        let mut seats = Vec::new();
        for (last, welcome) in [(1, true), (2, true), (1, false), (3, true)] {
            let (seat, gone) = seated(book.admit_unnamed(&limits, "x"));
            assert_eq!((gone, book.unnamed.len()), (None, 1));
            let named = book.name(&limits, seat, peer(last), Phase::Clear);
            assert_eq!(matches!(named, Admission::Seated { .. }), welcome, "{last}");
            assert_eq!(book.unnamed.len(), usize::from(!welcome));
            match welcome {
                true => seats.push(seat),
                false => drop(book.leave(seat)),
            }
        }
        let direct = book.admit(&limits, peer(3), Phase::Clear, "x");
        assert!(matches!(direct, Admission::AddressFull));
        for seat in seats {
            assert!(book.leave(seat).is_some());
        }
        assert_eq!((book.len(), book.networks.len()), (0, 0));
    }

    /// A proxy that never says for whom it connects drives out its own connections, and one that
    /// lost its seat meanwhile is counted for nobody.
    #[test]
    fn connections_without_a_name_shed_their_oldest() {
        let (limits, mut book) = (limits(100, 100, 2), Seats::new());
        seated(book.admit(&limits, peer(1), Phase::Handshake, "client"));
        let (a, _) = seated(book.admit_unnamed(&limits, "a"));
        let (b, _) = seated(book.admit_unnamed(&limits, "b"));
        assert_eq!(seated(book.admit_unnamed(&limits, "c")).1, Some("a"));
        let name = |book: &mut Seats<_>, seat, last| {
            seated(book.name(&limits, seat, peer(last), Phase::Handshake)).1
        };
        assert_eq!(name(&mut book, a, 2), None);
        assert_eq!(book.networks.get(&peer(2)), None);
        assert_eq!(name(&mut book, b, 3), None);
        let (d, gone) = seated(book.admit_unnamed(&limits, "d"));
        assert_eq!(gone, None);
        assert_eq!(name(&mut book, d, 4), Some("client"));
        assert_eq!(book.len(), 3);
    }
}
