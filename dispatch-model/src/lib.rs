//! Placeholder.
pub mod ids;
pub mod lifecycle;
pub mod time;
