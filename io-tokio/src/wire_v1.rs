//! The wire of the original project, for moving over one side at a time. Off unless enabled.
//!
//! ```text
//!  extension                                             router
//!     │ POST /api/chunked/request/{instance}/{channel} ───▶ │   one for each slot: a *channel*
//!     │ ◀────────────────────────────── 200, body left open │
//!     │                                                     │   it waits for a client's request
//!     │ ◀─────────── GET /a HTTP/1.1 ⏎ …, body, end of body │   in the body of the response
//!     │ HTTP/1.1 200 OK ⏎ …, body, end of body ───────────▶ │   in the body of the POST
//!     │ POST …, the same channel again ───────────────────▶ │
//!     │                                                     │
//!     │ GET /api/chunked/ping/{instance} ─────────────────▶ │   seldom; 200, or 409: leave
//!     │ GET /api/chunked/close/{instance} ────────────────▶ │   wants to leave, but serves
//!     │                                                     │   on until this is answered
//!     │ ◀────────── GET /_lambda_dispatch/goaway, and end   │   on each channel that waits
//!     │ POST … ───────────────────────────────────────────▶ │   409: leave
//! ```
//!
//! It is HTTP/2 (prior knowledge without TLS, ALPN `h2` with it) with the extension as client. A
//! channel carries one request; heads are text ([`head`]), bodies are raw, and the end of a stream
//! is the end of a body. A body that is cut is a stream that is reset. Pings and closes are GETs
//! whose body the original's extension ends only after the answer; its POSTs have a `host` that
//! differs from `:authority`.
//!
//! **What it cannot do:** trailers (dropped, so no gRPC), upgrades such as WebSocket (501), 1xx
//! responses (so our router says `100 Continue` itself), more than 64 request header lines (431),
//! `OPTIONS *` (501), giving a request back that a channel has already been sent. One that is reset
//! ends the whole invoke of the original's extension, so that a client that breaks its upload off
//! costs an instance.
//!
//! **Whom one trusts.** An instance proves nothing: whoever can reach the router's port and knows
//! the 128 random bits of an instance's name that is about to attach is that instance, and the
//! original's extension takes any certificate. The operator decides by enabling it, and may limit
//! where instances come from. A client cannot send the order to leave: our router passes on no
//! target below `/_lambda_dispatch/`, and our extension obeys only the exact bytes that its router
//! writes, with the ids of the instance and the channel.
//!
//! The router's half is in `router`, `instance` and `link`, the extension's in that crate. Either
//! is a bridge between this wire and [our own](crate::attach): the model, the exchange and the
//! relay to the app do not know which is in use.
//!
//! The init-only invoke that the original's router sends after each start is answered by our
//! extension on either wire; our router sends none.

pub mod any_certificate;
pub mod body;
pub(crate) mod first_bytes;
pub mod head;
mod instance;
mod link;
pub mod offer;
pub mod router;
