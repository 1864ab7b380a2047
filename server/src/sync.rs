//! The lock that handles and driver share; loom's while their interleavings are explored.

#[cfg(holdline_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(holdline_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

/// Locks, also after another thread has panicked with the lock: every critical section leaves the state whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}
