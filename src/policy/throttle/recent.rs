//! A map of bounded size that forgets what has been untouched the longest.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// At most `capacity` values by key.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    capacity: usize,
    values: HashMap<K, (u64, V)>,
    /// Keys by the number of their last touch, the oldest first.
    order: BTreeMap<u64, K>,
    touches: u64,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Recent {
            capacity: capacity.max(1),
            values: HashMap::new(),
            order: BTreeMap::new(),
            touches: 0,
        }
    }

    /// The value, left as old as it was.
    pub(crate) fn peek(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    /// All keys with their values, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let keys = self.order.values();
        keys.filter_map(|key| Some((key, self.peek(key)?)))
    }

    /// The value, made the youngest; where there is none, `fresh` makes it.
    pub(crate) fn touch(&mut self, key: &K, fresh: impl FnOnce() -> V) -> &mut V {
        self.touches += 1;
        match self.values.get(key) {
            Some((touched, _)) => {
                self.order.remove(touched);
            }
            None if self.values.len() >= self.capacity => {
                if let Some((_, oldest)) = self.order.pop_first() {
                    self.values.remove(&oldest);
                }
            }
            None => {}
        }
        self.order.insert(self.touches, key.clone());
        let entry = self
            .values
            .entry(key.clone())
            .or_insert_with(|| (0, fresh()));
        entry.0 = self.touches;
        &mut entry.1
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        self.touch(&key, || value);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some((touched, _)) = self.values.remove(key) {
            self.order.remove(&touched);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.order.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.values.len(), self.order.len());
        self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_untouched_goes_first() {
        let mut recent = Recent::new(2);
        recent.insert("a", 1);
        recent.insert("b", 2);
        *recent.touch(&"a", || 0) += 10;
        recent.insert("c", 3);
        assert_eq!(
            [
                recent.peek(&"a"),
                recent.peek(&"b"),
                recent.peek(&"c"),
                recent.peek(&"d")
            ],
            [Some(&11), None, Some(&3), None]
        );
        assert_eq!(recent.len(), 2);
        recent.insert("c", 4);
        recent.remove(&"a");
        assert_eq!((recent.peek(&"c"), recent.len()), (Some(&4), 1));
        recent.clear();
        assert_eq!(recent.len(), 0);
    }
}
