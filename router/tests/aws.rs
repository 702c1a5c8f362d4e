//! The real AWS client against a stand-in for the Lambda API that answers byte for byte.

#![expect(clippy::unwrap_used, reason = "a test panics on what it does not expect")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dispatch_model::InvokeOutcome;
use io_tokio::invoker::{Invoked, Invoker as _};
use lambda_dispatch::aws::{AwsError, LambdaInvoker};
use lambda_dispatch::settings::Aws;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

/// What the stand-in does with a call.
#[derive(Clone, Debug)]
enum Answer {
    /// Reads the request, then resets the connection.
    Reset,
    /// Sends this head, half a body, then resets the connection.
    ResetInBody,
    /// Says nothing until it is told to return.
    Silence(Arc<Notify>),
    /// Status, headers, body.
    Status(u16, &'static str, &'static str),
}

/// A stand-in for Lambda that gives every call the same answer.
struct StandIn {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    requests: mpsc::Receiver<String>,
}

impl StandIn {
    async fn new(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let (seen, requests) = mpsc::channel(16);
        let counted = Arc::clone(&calls);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, answer.clone(), seen.clone()));
            }
        });
        Self { address, calls, requests }
    }

    fn invoker(&self) -> LambdaInvoker {
        LambdaInvoker::local(&format!("http://{}", self.address)).unwrap()
    }
}

async fn serve(mut stream: TcpStream, answer: Answer, seen: mpsc::Sender<String>) {
    let mut request = Vec::new();
    while !complete(&request) {
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return;
        }
    }
    seen.send(String::from_utf8(request).unwrap()).await.unwrap();
    let reset = |stream: TcpStream| {
        stream.set_zero_linger().unwrap();
        drop(stream);
    };
    match answer {
        Answer::Reset => reset(stream),
        Answer::ResetInBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
            reset(stream);
        }
        Answer::Silence(end) => {
            end.notified().await;
            respond(&mut stream, 200, "", "{}").await;
        }
        Answer::Status(status, headers, body) => respond(&mut stream, status, headers, body).await,
    }
}

async fn respond(stream: &mut TcpStream, status: u16, headers: &str, body: &str) {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
}

/// Whether head and body of a request are there.
fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.to_lowercase().lines().find_map(|line| {
        line.strip_prefix("content-length:").map(|n| n.trim().parse::<usize>().unwrap())
    });
    body.len() >= length.unwrap_or(0)
}

/// One invoke against a fresh stand-in, which must see exactly one call.
async fn invoke(answer: Answer) -> Invoked {
    let stand_in = StandIn::new(answer).await;
    let invoked = stand_in.invoker().invoke("fn", b"{}".to_vec()).await;
    assert_eq!(stand_in.calls.load(Ordering::SeqCst), 1, "{invoked:?}");
    invoked
}

const TOO_MANY: &str = "x-amzn-errortype: TooManyRequestsException\r\n";

#[tokio::test]
async fn the_call_is_synchronous_signed_and_carries_the_payload() {
    let mut stand_in = StandIn::new(Answer::Status(200, "", "{\"ExitReason\":\"x\"}")).await;
    let invoked = stand_in.invoker().invoke("my-fn:live", b"{\"Id\":1}".to_vec()).await;
    assert_eq!(invoked.outcome, InvokeOutcome::Returned);
    assert_eq!(invoked.detail, "{\"ExitReason\":\"x\"}");
    let request = stand_in.requests.recv().await.unwrap();
    assert!(
        request.starts_with("POST /2015-03-31/functions/my-fn%3Alive/invocations HTTP/1.1\r\n"),
        "{request}"
    );
    let lower = request.to_lowercase();
    for line in [
        "x-amz-invocation-type: requestresponse",
        "authorization: aws4-hmac-sha256 credential=local/",
        &format!("host: {}", stand_in.address),
    ] {
        assert!(lower.contains(line), "{line}\n{request}");
    }
    assert!(request.ends_with("\r\n\r\n{\"Id\":1}"), "{request}");
}

#[tokio::test]
async fn every_answer_means_what_the_model_needs_to_know() {
    for (answer, outcome, said) in ANSWERS {
        let invoked = invoke(answer.clone()).await;
        assert_eq!(invoked.outcome, *outcome, "{answer:?}: {}", invoked.detail);
        assert!(invoked.detail.contains(said), "{answer:?}: {}", invoked.detail);
        assert!(!invoked.detail.contains('\n'));
    }
}

#[tokio::test]
async fn fifteen_silent_minutes_are_no_reason_to_give_up() {
    let end = Arc::new(Notify::new());
    let mut stand_in = StandIn::new(Answer::Silence(Arc::clone(&end))).await;
    let invoker = stand_in.invoker();
    let call = tokio::spawn(async move { invoker.invoke("fn", Vec::new()).await });
    stand_in.requests.recv().await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(20 * 60)).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!call.is_finished());
    end.notify_one();
    let invoked = call.await.unwrap();
    assert_eq!(invoked.outcome, InvokeOutcome::Returned, "{}", invoked.detail);
    assert_eq!(stand_in.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_lambda_that_cannot_be_reached_is_unavailable() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    for endpoint in [format!("http://{address}"), "http://lambda.invalid:80".to_owned()] {
        let invoked = LambdaInvoker::local(&endpoint).unwrap().invoke("fn", Vec::new()).await;
        assert_eq!(invoked.outcome, InvokeOutcome::Unavailable, "{}", invoked.detail);
        assert!(invoked.detail.contains("cannot connect to"), "{}", invoked.detail);
    }
}

#[tokio::test]
async fn calls_do_not_wait_for_each_other() {
    let stand_in = StandIn::new(Answer::Status(200, "", "{}")).await;
    let silent = StandIn::new(Answer::Silence(Arc::new(Notify::new()))).await;
    let slow = silent.invoker();
    let waiting = tokio::spawn(async move { slow.invoke("fn", Vec::new()).await });
    let invoker = stand_in.invoker();
    let (a, b) = tokio::join!(invoker.invoke("fn", Vec::new()), invoker.invoke("fn", Vec::new()));
    assert_eq!((a.outcome, b.outcome), (InvokeOutcome::Returned, InvokeOutcome::Returned));
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[test]
fn without_region_or_credentials_the_error_says_what_to_set() {
    in_bare_environment("connect_without_a_region", &[]);
    in_bare_environment("connect_without_credentials", &[("AWS_REGION", "eu-west-1")]);
}

#[tokio::test]
#[ignore = "run by without_region_or_credentials_the_error_says_what_to_set"]
async fn connect_without_a_region() {
    let error = LambdaInvoker::connect(&Aws::default()).await.expect_err("nothing is configured");
    assert!(matches!(error, AwsError::NoRegion), "{error}");
    assert!(error.to_string().contains("AWS_REGION"), "{error}");
}

#[tokio::test]
#[ignore = "run by without_region_or_credentials_the_error_says_what_to_set"]
async fn connect_without_credentials() {
    let error = LambdaInvoker::connect(&Aws::default()).await.expect_err("nothing is configured");
    assert!(matches!(error, AwsError::NoCredentials(_)), "{error}");
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
}

/// Runs a test of this file in a process that knows nothing of this machine's AWS set-up.
fn in_bare_environment(test: &str, variables: &[(&str, &str)]) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored"])
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

/// What Lambda answers, what it means, and a part of what is logged about it.
const ANSWERS: &[(Answer, InvokeOutcome, &str)] = &[
    (
        Answer::Status(
            200,
            "x-amz-function-error: Unhandled\r\n",
            "{\"errorMessage\":\"RequestId: 1 Error: Runtime exited with error: exit status 1\",\"errorType\":\"Runtime.ExitError\"}",
        ),
        InvokeOutcome::Crashed,
        "Runtime.ExitError",
    ),
    (
        Answer::Status(200, "x-amz-function-error: Unhandled\r\n", "not json"),
        InvokeOutcome::Crashed,
        "not json",
    ),
    (
        Answer::Status(
            200,
            "x-amz-function-error: Unhandled\r\n",
            "{\"errorMessage\":\"2026-11-23T08:00:00Z 1 Task timed out after 3.00 seconds\"}",
        ),
        InvokeOutcome::TimedOut,
        "timed out",
    ),
    (
        Answer::Status(
            200,
            "x-amz-function-error: Unhandled\r\n",
            "{\"errorType\":\"Sandbox.Timedout\",\"errorMessage\":\"x\"}",
        ),
        InvokeOutcome::TimedOut,
        "Sandbox.Timedout",
    ),
    (
        Answer::Status(
            429,
            TOO_MANY,
            "{\"Reason\":\"ConcurrentInvocationLimitExceeded\",\"message\":\"Rate Exceeded.\"}",
        ),
        throttled(0),
        "ConcurrentInvocationLimitExceeded",
    ),
    (
        Answer::Status(
            429,
            TOO_MANY,
            "{\"Reason\":\"ReservedFunctionConcurrentInvocationLimitExceeded\"}",
        ),
        throttled(0),
        "ReservedFunctionConcurrentInvocationLimitExceeded",
    ),
    (
        Answer::Status(429, TOO_MANY, "{\"Reason\":\"FunctionInvocationRateLimitExceeded\"}"),
        throttled(0),
        "FunctionInvocationRateLimitExceeded",
    ),
    (
        Answer::Status(
            429,
            "x-amzn-errortype: TooManyRequestsException\r\nretry-after: 7\r\n",
            "{\"Reason\":\"CallerRateLimitExceeded\"}",
        ),
        throttled(7),
        "CallerRateLimitExceeded",
    ),
    (Answer::Status(429, "", "busy"), throttled(0), "429"),
    (
        Answer::Status(502, "x-amzn-errortype: EC2ThrottledException\r\n", "{}"),
        throttled(0),
        "EC2Throttled",
    ),
    (
        Answer::Status(502, "x-amzn-errortype: ENILimitReachedException\r\n", "{}"),
        throttled(0),
        "ENILimit",
    ),
    (
        Answer::Status(
            403,
            "x-amzn-errortype: AccessDeniedException\r\n",
            "{\"Message\":\"User: x is not authorized to perform: lambda:InvokeFunction\"}",
        ),
        InvokeOutcome::Forbidden,
        "not authorized",
    ),
    (
        Answer::Status(
            404,
            "x-amzn-errortype: ResourceNotFoundException\r\n",
            "{\"Message\":\"Function not found: fn\"}",
        ),
        InvokeOutcome::Forbidden,
        "Function not found",
    ),
    (
        Answer::Status(400, "x-amzn-errortype: InvalidParameterValueException\r\n", "{}"),
        InvokeOutcome::Forbidden,
        "InvalidParameterValue",
    ),
    (
        Answer::Status(400, "x-amzn-errortype: ThrottlingException\r\n", "{}"),
        throttled(0),
        "Throttling",
    ),
    (
        Answer::Status(502, "x-amzn-errortype: KMSAccessDeniedException\r\n", "{}"),
        InvokeOutcome::Forbidden,
        "KMS",
    ),
    (
        Answer::Status(409, "x-amzn-errortype: ResourceConflictException\r\n", "{}"),
        InvokeOutcome::Unavailable,
        "Conflict",
    ),
    (
        Answer::Status(500, "x-amzn-errortype: ServiceException\r\n", "{}"),
        InvokeOutcome::Unavailable,
        "ServiceException",
    ),
    (Answer::Status(503, "", "<html>"), InvokeOutcome::Unavailable, "503"),
    (Answer::Reset, InvokeOutcome::Unknown, "after the request was sent"),
    (Answer::ResetInBody, InvokeOutcome::Unknown, ""),
];

/// Throttled, with the seconds that Lambda asks to wait if it does.
const fn throttled(seconds: u64) -> InvokeOutcome {
    let retry_after = if seconds == 0 { None } else { Some(Duration::from_secs(seconds)) };
    InvokeOutcome::Throttled { retry_after }
}
