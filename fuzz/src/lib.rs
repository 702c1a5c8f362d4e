//! Bytes to legal inputs, for fuzzers and for the corpora that they leave behind.
//!
//! Decoding is positional: a head of [`HEAD`] bytes chooses the limits, every [`STEP`] bytes after
//! it are one step, and each byte always means the same, so that a fuzzer that changes one byte
//! changes one thing. Whatever the bytes, the inputs are legal: a step that makes no sense where it
//! stands does nothing. Inputs about what has ended are legal too, and are sent.
//!
//! `cargo test` replays the committed corpora and some random bytes; the targets for libFuzzer are
//! built with the feature `libfuzzer` only.

mod dispatcher;

pub use dispatcher::{HEAD, STEP, dispatcher};
