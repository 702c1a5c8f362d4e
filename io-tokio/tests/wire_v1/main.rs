//! Our router with extensions of the original: a real router on real sockets, clients in front, and
//! stand-ins behind that do what the original's extension does.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

mod any_certificate;
mod life;
mod on_hyper;
mod original;
mod requests;
mod stage;
