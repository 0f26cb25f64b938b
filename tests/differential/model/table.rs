//! A map in parts that copies share until one of them changes its own: a year of blocks keeps many copies.

use alloy_primitives::Address;
use std::{collections::BTreeMap, sync::Arc};

/// What a key begins with, and is ordered by first.
pub(crate) trait Leads: Ord + Clone {
    fn first(&self) -> u8;
}

impl Leads for Address {
    fn first(&self) -> u8 {
        self[0]
    }
}

impl Leads for super::ChannelName {
    fn first(&self) -> u8 {
        self.0[0]
    }
}

/// In the order of its keys, like any map.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V>(BTreeMap<u8, Arc<BTreeMap<K, V>>>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Leads, V: Clone> Table<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(&key.first())?.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        Arc::make_mut(self.0.entry(key.first()).or_default()).insert(key, value);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.values().flat_map(|part| part.iter())
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}
