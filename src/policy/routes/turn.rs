//! In which order the hosts of a next hop are tried.

use super::{Hop, Host};

impl Hop {
    /// Every host once: lower orders first; among equals by chance, in proportion to their weights,
    /// those without weight last.
    ///
    /// `random` gives a number below its argument, which is at least 1.
    pub fn in_turn(&self, mut random: impl FnMut(u32) -> u32) -> Vec<&Host> {
        let mut left: Vec<&Host> = self.hosts.iter().collect();
        left.sort_by_key(|host| host.order);
        let mut turn = Vec::with_capacity(left.len());
        while let Some(order) = left.first().map(|host| host.order) {
            let equals = left.iter().take_while(|host| host.order == order).count();
            let next = draw(&left[..equals], &mut random);
            turn.push(left.remove(next));
        }
        turn
    }
}

/// The place of one of these hosts.
fn draw(hosts: &[&Host], random: &mut impl FnMut(u32) -> u32) -> usize {
    let sum: u32 = hosts.iter().map(|host| u32::from(host.weight)).sum();
    if sum == 0 {
        let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        return random(count.max(1)) as usize % hosts.len().max(1);
    }
    let mut ticket = random(sum) % sum;
    for (at, host) in hosts.iter().enumerate() {
        match ticket.checked_sub(host.weight.into()) {
            Some(left) => ticket = left,
            None => return at,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::routes::{Encryption, Place, Trust};

    fn hop(hosts: &[(&str, u16, u16)]) -> Hop {
        let hosts = hosts.iter().map(|(name, order, weight)| Host {
            place: Place::Tcp {
                host: (*name).to_owned(),
                port: 25,
            },
            encryption: Encryption::StartTls,
            order: *order,
            weight: *weight,
        });
        Hop {
            hosts: hosts.collect(),
            trust: Trust::System,
            credentials: Vec::new(),
            connections: 1,
            messages_per_connection: 1,
            idle: Duration::ZERO,
        }
    }

    fn names(turn: Vec<&Host>) -> Vec<String> {
        let names = turn.into_iter().map(|host| host.place.to_string());
        names.map(|name| name.replace(":25", "")).collect()
    }

    #[test]
    fn lower_orders_come_first_and_everybody_once() {
        let hop = hop(&[("c", 20, 1), ("a", 10, 0), ("b", 10, 5), ("d", 30, 0)]);
        for seed in 0..10 {
            assert_eq!(names(hop.in_turn(|_| seed)), ["b", "a", "c", "d"], "{seed}");
        }
    }

    #[test]
    fn equals_share_in_proportion_to_their_weights() {
        let hop = hop(&[("a", 0, 1), ("b", 0, 3)]);
        let firsts: Vec<_> = (0..4)
            .map(|ticket| names(hop.in_turn(|_| ticket)).remove(0))
            .collect();
        assert_eq!(firsts, ["a", "b", "b", "b"]);
        let even = self::hop(&[("a", 0, 0), ("b", 0, 0)]);
        assert_eq!(names(even.in_turn(|_| 0)), ["a", "b"]);
        assert_eq!(names(even.in_turn(|below| below - 1)), ["b", "a"]);
    }

    #[test]
    fn no_number_leads_astray() {
        let hop = hop(&[("a", 0, u16::MAX), ("b", 0, u16::MAX), ("c", 1, 0)]);
        for number in [0, 1, u32::MAX] {
            assert_eq!(hop.in_turn(|_| number).len(), 3);
        }
        assert!(self::hop(&[]).in_turn(|_| 0).is_empty());
    }
}
