//! The adapters of lambda-dispatch: they move bytes and read clocks, and decide nothing.
//!
//! Decisions are made by `dispatch_model`; what happens is told to it as inputs, and what it orders
//! is done here. A branch about which one can argue does not belong into this crate.
//!
//! ```text
//!  clients ──▶ client_listener ─▶ exchange ─▶ pool ─▶ driver ─▶ Dispatcher
//!                                    │          ▲        │
//!                                    ▼          │        ├─▶ invoker (AWS Lambda)
//!                                 session ◀─ instance_listener ◀── attach ◀── instances
//! ```
//!
//! | file | what |
//! |---|---|
//! | `driver`, `pool` | the task that owns a dispatcher, and the handle that others have on it |
//! | `client_listener`, `patience` | connections from clients, and how long they may be silent |
//! | `exchange`, `entry` | one request and its response, and its line in the access log |
//! | `request_head`, `upload`, `relay` | the request's head, its body, and the response's |
//! | `interim` | 1xx responses to HTTP/1.1 clients |
//! | `upgrade`, `tunnel` | connections that go on in another protocol, such as WebSocket |
//! | `instance_listener`, `attach`, `session` | an instance dials back and is given streams |
//! | `payload`, `secret`, `tls`, `networks` | who may talk to whom |
//! | `stream_body`, `headers` | bodies and headers between HTTP/2 and `http_body`, on both sides |
//! | `recorder`, `recording` | what the model was told and did, kept for a replay |
//! | `net`, `clock`, `chance`, `invoker`, `observe` | the world, or a simulation in its place |
//! | `running` | a router, put together |

pub mod attach;
pub mod chance;
pub mod client_listener;
pub mod clock;
pub mod driver;
mod entry;
pub mod exchange;
pub mod headers;
mod hex;
pub mod instance_listener;
pub mod interim;
pub mod invoker;
pub mod lifecycle_driver;
pub mod net;
pub mod networks;
pub mod observe;
mod patience;
pub mod payload;
pub mod pool;
pub mod recorder;
pub mod recording;
mod relay;
// Public for the fuzzer alone.
#[doc(hidden)]
pub mod request_head;
pub mod rfc3339;
pub mod running;
mod secret;
pub mod session;
mod strangers;
pub mod stream_body;
pub mod tls;
pub mod tunnel;
pub mod upgrade;
mod upload;
