//! The adapters of lambda-dispatch: they move bytes and read clocks, and decide nothing.
//!
//! Decisions are made by `dispatch_model`; what happens is told to it as inputs, and what it orders
//! is done here. A branch about which one can argue does not belong into this crate.
//!
//! ```text
//!  clients ──▶ client_listener ─▶ edge ─▶ exchange ─▶ pool ─▶ driver ─▶ Dispatcher
//!                                            │          ▲        │
//!                                            ▼          │        ├─▶ invoker (AWS Lambda)
//!                                         session ◀─ instance_listener ◀── attach ◀── instances
//! ```
//!
//! | file | what |
//! |---|---|
//! | `routes`, `split`, `table` | which pool serves a request |
//! | `driver`, `pool` | what drives a dispatcher, and the handle that others have on it |
//! | `lifecycle_driver` | the task that owns an extension's machine |
//! | `client_listener` | connections from clients |
//! | `admission`, `seldom` | how many connections there may be, and how many lines about failures |
//! | `patience`, `stalled` | how long they may be silent, and not read |
//! | `guard`, `framing` | what hyper gets of them: messages whose ends are beyond doubt |
//! | `edge` | what takes requests from clients, and how it is set |
//! | `exchange`, `entry` | one request and its response, and its line in the access log |
//! | `request_head`, `upload`, `relay` | the request's head, its body, and the response's |
//! | `request_id` | what either side logs about a request is found by |
//! | `interim` | 1xx responses to HTTP/1.1 clients |
//! | `upgrade`, `tunnel` | connections that go on in another protocol, such as WebSocket |
//! | `instance_listener`, `invited` | instances dial back: who may, and for which pool |
//! | `attach`, `session` | how an instance makes itself known, and is given streams |
//! | `http2` | what is spoken on the links between routers and instances |
//! | `wire_v1` | the original's wire, made to look like a session |
//! | `payload`, `secret`, `tls`, `networks` | who may talk to whom |
//! | `stream_body`, `headers` | bodies and headers between HTTP/2 and `http_body`, on both sides |
//! | `hex`, `rfc3339` | bytes, numbers and moments as text |
//! | `recorder`, `recording` | what the model was told and did, kept for a replay |
//! | `net`, `clock`, `chance`, `invoker`, `observe` | the world, or a simulation in its place |
//! | `running` | a router, put together |

mod admission;
pub mod attach;
pub mod chance;
pub mod client_listener;
pub mod clock;
pub mod driver;
pub mod edge;
mod entry;
mod exchange;
// Public for the fuzzer alone.
#[doc(hidden)]
pub mod framing;
mod guard;
pub mod headers;
mod hex;
pub mod http2;
pub mod instance_listener;
pub mod interim;
pub mod invited;
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
pub mod request_id;
pub mod rfc3339;
pub mod routes;
pub mod running;
mod secret;
mod seldom;
pub mod session;
pub mod split;
mod stalled;
pub mod stream_body;
pub mod table;
pub mod tls;
pub mod tunnel;
pub mod upgrade;
mod upload;
pub mod wire_v1;
