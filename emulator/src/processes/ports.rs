//! Free loopback ports for apps.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// Finds ports for apps to listen on.
///
/// A port that was free a moment ago can be gone when the app binds it. So these come from below
/// the range that the kernel takes ports from on its own (32768 and up on Linux), start at a random
/// one, and are not given twice while in use, by no emulator of this process: tests start many.
#[derive(Debug)]
pub(crate) struct Ports {
    last: u16,
}

impl Ports {
    pub(crate) fn new() -> Self {
        Self { last: rand::random_range(FIRST..=LAST) }
    }

    /// A port that nobody listens on, the caller's until it is given back.
    pub(crate) fn take(&mut self) -> io::Result<u16> {
        for _ in FIRST..=LAST {
            self.last = if self.last >= LAST { FIRST } else { self.last + 1 };
            let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
            let free = !taken.contains(&self.last)
                && TcpListener::bind((Ipv4Addr::LOCALHOST, self.last)).is_ok();
            if free {
                taken.insert(self.last);
                return Ok(self.last);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("no port of 127.0.0.1 from {FIRST} to {LAST} is free for the app"),
        ))
    }

    pub(crate) fn give_back(&mut self, port: u16) {
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&port);
    }
}

static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

const FIRST: u16 = 12_000;
const LAST: u16 = 32_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_free_and_not_given_twice() {
        let mut ports = Ports::new();
        let first = ports.take().unwrap();
        let second = ports.take().unwrap();
        assert_ne!(first, second);
        let mut others = Ports { last: first - 1 };
        assert!(![first, second].contains(&others.take().unwrap()), "those of another emulator");
        TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
    }

    #[test]
    fn port_that_somebody_listens_on_is_passed_over() {
        let mut ports = Ports::new();
        let first = ports.take().unwrap();
        let _busy = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        ports.give_back(first);
        ports.last = first - 1;
        assert_ne!(ports.take().unwrap(), first);
    }
}
