//! The original's wire.
pub mod head;
