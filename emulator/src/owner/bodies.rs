//! The texts that Lambda itself writes: error bodies, events for extensions, lines of the log.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::call::ExtensionEvent;
use crate::event::ProcessEnd;
use crate::model::Bill;

/// A process ended before the invoke was answered.
pub(super) fn exit_error(request_id: &str, end: Option<ProcessEnd>) -> Bytes {
    let reason = match end {
        Some(end) if end.code() == Some(0) => {
            "Runtime exited without providing a reason".to_owned()
        }
        Some(end) => format!("Runtime exited with error: {end}"),
        None => "Runtime failed to start".to_owned(),
    };
    error("Runtime.ExitError", &format!("RequestId: {request_id} Error: {reason}"))
}

/// The function took longer than it may.
pub(super) fn timeout_error(request_id: &str, after: Duration) -> Bytes {
    let seconds = after.as_secs_f64();
    let message =
        format!("RequestId: {request_id} Error: Task timed out after {seconds:.2} seconds");
    error("Sandbox.Timedout", &message)
}

/// The response was larger than a response may be.
pub(super) fn too_large_error(limit: usize) -> Bytes {
    let message =
        format!("Response payload size exceeded maximum allowed payload size ({limit} bytes).");
    error("Function.ResponseSizeTooLarge", &message)
}

/// Initialisation failed and nobody said why.
pub(super) fn unknown_init_error() -> Bytes {
    error("Runtime.Unknown", "Initialization failed")
}

fn error(kind: &str, message: &str) -> Bytes {
    json!({ "errorType": kind, "errorMessage": message }).to_string().into()
}

/// What an extension is told of an invoke.
pub(super) fn invoke_event(
    request_id: &str,
    deadline_ms: u64,
    arn: &str,
    trace: &str,
) -> ExtensionEvent {
    let event = json!({
        "eventType": "INVOKE",
        "deadlineMs": deadline_ms,
        "requestId": request_id,
        "invokedFunctionArn": arn,
        "tracing": { "type": "X-Amzn-Trace-Id", "value": trace },
    });
    ExtensionEvent { json: event.to_string() }
}

/// What an extension is told before its environment ends.
pub(super) fn shutdown_event(deadline_ms: u64) -> ExtensionEvent {
    let event = json!({
        "eventType": "SHUTDOWN",
        "shutdownReason": "spindown",
        "deadlineMs": deadline_ms,
    });
    ExtensionEvent { json: event.to_string() }
}

/// The line of the log that begins an invoke.
pub(super) fn start_line(request_id: &str) -> String {
    format!("START RequestId: {request_id} Version: $LATEST")
}

/// The lines of the log that end an invoke.
pub(super) fn report_lines(request_id: &str, bill: &Bill) -> String {
    let Bill { cold, init_ms, duration_ms, memory_mb, .. } = bill;
    let billed = bill.billed_ms();
    let init = if *cold { format!("\tInit Duration: {init_ms}.00 ms") } else { String::new() };
    format!(
        "END RequestId: {request_id}\nREPORT RequestId: {request_id}\t\
         Duration: {duration_ms}.00 ms\tBilled Duration: {billed} ms\t\
         Memory Size: {memory_mb} MB{init}"
    )
}
