//! Many functions behind one router, over real sockets: who serves what, that nobody pays for
//! another's trouble, and that a change loses no request.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

mod changes;
mod idle;
mod neighbours;
mod routing;
mod stage;
