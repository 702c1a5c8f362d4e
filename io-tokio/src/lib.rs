//! Placeholder.

pub mod attach;
pub mod clock;
pub mod headers;
mod hex;
pub mod invoker;
pub mod net;
pub mod networks;
pub mod payload;
pub mod rfc3339;
mod secret;
pub mod stream_body;
pub mod tls;
