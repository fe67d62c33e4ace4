//! Typed indices. Everything that a program refers to by number has its own index type, and [`EntityVec`] is a vector that only
//! this type indexes. An entity prints as it is written in the text of its language.
//!
//! ```
//! use sonar_ir::entity::{Entity, EntityVec, entity};
//!
//! entity! {
//!     /// A city.
//!     City, "c"
//! }
//!
//! let mut names: EntityVec<City, &str> = EntityVec::new();
//! let bern = names.push("Bern");
//! let oslo = names.push("Oslo");
//! assert_eq!((names[bern], names[oslo]), ("Bern", "Oslo"));
//! assert_eq!(oslo.to_string(), "c1");
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Index, IndexMut};

#[doc(inline)]
pub use crate::entity;
#[doc(hidden)]
pub use serde;

/// A number that names one of several things of the same kind.
pub trait Entity: Copy + Ord {
    /// The entity with this position.
    fn from_index(index: usize) -> Self;

    /// Its position.
    fn index(self) -> usize;
}

/// Defines an [`Entity`]: its documentation, its name, and the prefix of its printed number.
#[macro_export]
macro_rules! entity {
    ($(#[$attribute:meta])* $name:ident, $prefix:literal) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl $crate::entity::Entity for $name {
            fn from_index(index: usize) -> Self {
                $name(index as u32)
            }

            fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl $crate::entity::serde::Serialize for $name {
            fn serialize<S: $crate::entity::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u32(self.0)
            }
        }

        impl<'de> $crate::entity::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::entity::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                u32::deserialize(deserializer).map($name)
            }
        }
    };
}

/// A vector whose positions are entities. It is a slice of its values where positions do not matter.
pub struct EntityVec<K, V> {
    values: Vec<V>,
    key: PhantomData<fn(K)>,
}

impl<K: Entity, V> EntityVec<K, V> {
    /// No values.
    pub const fn new() -> Self {
        EntityVec { values: Vec::new(), key: PhantomData }
    }

    /// `len` times the same value.
    pub fn filled(value: V, len: usize) -> Self
    where
        V: Clone,
    {
        vec![value; len].into()
    }

    /// Appends a value, and gives its entity.
    pub fn push(&mut self, value: V) -> K {
        self.values.push(value);
        K::from_index(self.values.len() - 1)
    }

    /// The value of an entity, if there is one.
    pub fn get(&self, key: K) -> Option<&V> {
        self.values.get(key.index())
    }

    /// The value of an entity, if there is one, to change it.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.values.get_mut(key.index())
    }

    /// All entities, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = K> + ExactSizeIterator + use<K, V> {
        (0..self.values.len()).map(K::from_index)
    }

    /// Entities with their values, in order.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (K, &V)> + ExactSizeIterator {
        self.values.iter().enumerate().map(|(index, value)| (K::from_index(index), value))
    }

    /// Entities with their values, in order, to change them.
    pub fn entries_mut(&mut self) -> impl DoubleEndedIterator<Item = (K, &mut V)> + ExactSizeIterator {
        self.values.iter_mut().enumerate().map(|(index, value)| (K::from_index(index), value))
    }

    /// The first entity whose value satisfies `is_it`.
    pub fn find(&self, is_it: impl Fn(&V) -> bool) -> Option<K> {
        self.values.iter().position(is_it).map(K::from_index)
    }

    /// Keeps the values that satisfy `keeps`. Later values move forward, so their entities change.
    pub fn retain(&mut self, keeps: impl FnMut(&V) -> bool) {
        self.values.retain(keeps);
    }

    /// A vector of the same length, with `f` applied to each entity and its value.
    pub fn map<T>(&self, f: impl FnMut((K, &V)) -> T) -> EntityVec<K, T> {
        self.entries().map(f).collect()
    }
}

impl<K: Entity, V> Index<K> for EntityVec<K, V> {
    type Output = V;

    fn index(&self, key: K) -> &V {
        &self.values[key.index()]
    }
}

impl<K: Entity, V> IndexMut<K> for EntityVec<K, V> {
    fn index_mut(&mut self, key: K) -> &mut V {
        &mut self.values[key.index()]
    }
}

impl<K, V> Deref for EntityVec<K, V> {
    type Target = [V];

    fn deref(&self) -> &[V] {
        &self.values
    }
}

impl<K, V> DerefMut for EntityVec<K, V> {
    fn deref_mut(&mut self) -> &mut [V] {
        &mut self.values
    }
}

impl<K, V> From<Vec<V>> for EntityVec<K, V> {
    fn from(values: Vec<V>) -> Self {
        EntityVec { values, key: PhantomData }
    }
}

impl<K, V> FromIterator<V> for EntityVec<K, V> {
    fn from_iter<I: IntoIterator<Item = V>>(values: I) -> Self {
        values.into_iter().collect::<Vec<V>>().into()
    }
}

impl<K, V> Extend<V> for EntityVec<K, V> {
    fn extend<I: IntoIterator<Item = V>>(&mut self, values: I) {
        self.values.extend(values);
    }
}

impl<K, V> IntoIterator for EntityVec<K, V> {
    type Item = V;
    type IntoIter = std::vec::IntoIter<V>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

impl<'a, K, V> IntoIterator for &'a EntityVec<K, V> {
    type Item = &'a V;
    type IntoIter = std::slice::Iter<'a, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.iter()
    }
}

impl<'a, K, V> IntoIterator for &'a mut EntityVec<K, V> {
    type Item = &'a mut V;
    type IntoIter = std::slice::IterMut<'a, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.iter_mut()
    }
}

impl<K, V: Clone> Clone for EntityVec<K, V> {
    fn clone(&self) -> Self {
        self.values.clone().into()
    }
}

impl<K, V> Default for EntityVec<K, V> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<K, V: PartialEq> PartialEq for EntityVec<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl<K, V: Eq> Eq for EntityVec<K, V> {}

impl<K, V: fmt::Debug> fmt::Debug for EntityVec<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

impl<K, V: serde::Serialize> serde::Serialize for EntityVec<K, V> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.values.serialize(serializer)
    }
}

impl<'de, K, V: serde::Deserialize<'de>> serde::Deserialize<'de> for EntityVec<K, V> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(EntityVec::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    entity! {
        /// A thing.
        Thing, "t"
    }

    #[test]
    fn entities_are_positions() {
        let mut things: EntityVec<Thing, &str> = vec!["a", "b"].into();
        let c = things.push("c");
        assert_eq!((c, things[c], c.to_string()), (Thing(2), "c", "t2".to_string()));
        assert_eq!(things.get(Thing(3)), None);
        assert_eq!(things.find(|thing| *thing == "b"), Some(Thing(1)));
        assert_eq!(things.keys().collect::<Vec<_>>(), [Thing(0), Thing(1), Thing(2)]);
        assert_eq!(things.map(|(thing, _)| thing.index()).to_vec(), [0, 1, 2]);
        things.retain(|thing| *thing != "a");
        assert_eq!(things.entries().collect::<Vec<_>>(), [(Thing(0), &"b"), (Thing(1), &"c")]);
    }
}
