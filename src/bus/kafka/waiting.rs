//! Who waits for which delivery report: a slot's number travels through librdkafka instead of an allocation a message.

use std::sync::{Mutex, PoisonError};

/// Values in numbered slots; a number is used again after its value was taken.
pub(super) struct Slots<T>(Mutex<Inner<T>>);

struct Inner<T> {
    slots: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            slots: Vec::new(),
            free: Vec::new(),
        }))
    }
}

impl<T> Slots<T> {
    pub(super) fn insert(&self, value: T) -> usize {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = inner.free.pop() {
            inner.slots[slot] = Some(value);
            return slot;
        }
        inner.slots.push(Some(value));
        inner.slots.len() - 1
    }

    pub(super) fn take(&self, slot: usize) -> Option<T> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = inner.slots.get_mut(slot)?.take()?;
        inner.free.push(slot);
        Some(value)
    }
}

impl<T: Clone> Slots<T> {
    pub(super) fn get(&self, slot: usize) -> Option<T> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.slots.get(slot)?.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_after_its_value_was_taken() {
        let slots = Slots::default();
        let (one, other) = (slots.insert("one"), slots.insert("other"));
        assert_ne!(one, other);
        assert_eq!(slots.get(one), Some("one"));
        assert_eq!(slots.take(one), Some("one"));
        assert_eq!((slots.take(one), slots.get(one)), (None, None));
        assert_eq!(slots.insert("third"), one);
        assert_eq!(slots.take(other), Some("other"));
    }
}
