use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue as Attribute;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::access_log::tests::access;
use crate::logging::tests::logged;
use crate::settings::Format;

/// What a stand-in for a collector was sent.
struct Received {
    head: String,
    request: ExportTraceServiceRequest,
}

impl Received {
    fn spans(&self) -> &[Span] {
        &self.request.resource_spans[0].scope_spans[0].spans
    }
}

/// A collector that gives these answers, one after the other, and tells what it was sent.
async fn collector(
    answers: Vec<(&'static str, Vec<u8>)>,
) -> (SocketAddr, mpsc::UnboundedReceiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for (status, answer) in answers {
            let mut stream = BufReader::new(listener.accept().await.unwrap().0);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                stream.read_line(&mut head).await.unwrap();
            }
            head.make_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.unwrap().parse().unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            let request = ExportTraceServiceRequest::decode(&*body).unwrap();
            told.send(Received { head, request }).ok();
            let length = answer.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(&[head.as_bytes(), &answer].concat()).await.unwrap();
        }
    });
    (address, received)
}

fn traces(collector: SocketAddr) -> Traces {
    Traces {
        endpoint: format!("http://{collector}/otlp/v1/traces").parse().unwrap(),
        service_name: None,
        sampler: Sampler::new("always_on", 1.0),
    }
}

fn traced() -> Access {
    let trace = Trace { id: [0xab; 16], span: [0xcd; 8], parent: Some([0xef; 8]), is_tls: true };
    Access { trace: Some(trace), host: "shop.example:8443".to_owned(), ..access() }
}

fn nothing(_: &str) -> Option<String> {
    None
}

/// How many spans had each fate.
fn fates(metrics: &Arc<Metrics>) -> [(&'static str, u64); 4] {
    let page = metrics.expose().unwrap();
    ["exported", "queue_full", "rejected", "unreachable"].map(|fate| {
        let series = format!("dispatch_spans_total{{pool=\"\",fate=\"{fate}\"}} ");
        let count = page.lines().find_map(|line| line.strip_prefix(&series));
        (fate, count.unwrap().parse().unwrap())
    })
}

fn text<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a Any> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

#[tokio::test]
async fn a_collector_is_sent_what_became_of_a_request() {
    let (address, mut received) = collector(vec![("200 OK", Vec::new())]).await;
    let metrics = Metrics::new();
    let variables = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_HEADERS" => Some("api-key=a%20secret,x-team=shop".to_owned()),
        "OTEL_RESOURCE_ATTRIBUTES" => Some("service.name=router,deployment=blue".to_owned()),
        _ => None,
    };
    let sending = Sending::start(&traces(address), variables, &metrics).unwrap();
    sending.log().record(&traced());
    sending.log().record(&access());
    sending.finish().await;

    let received = received.recv().await.unwrap();
    assert!(received.head.starts_with("post /otlp/v1/traces http/1.1\r\n"), "{}", received.head);
    for line in ["content-type: application/x-protobuf", "api-key: a secret", "x-team: shop"] {
        assert!(received.head.lines().any(|it| it == line), "{}", received.head);
    }
    let resource = &received.request.resource_spans[0].resource.as_ref().unwrap().attributes;
    assert_eq!(text(resource, "service.name"), Some(&Any::StringValue("router".to_owned())));
    assert_eq!(text(resource, "deployment"), Some(&Any::StringValue("blue".to_owned())));
    let [span] = received.spans() else { panic!("one was traced: {:?}", received.request) };
    assert_eq!((&*span.trace_id, &*span.span_id), (&[0xab; 16][..], &[0xcd; 8][..]));
    assert_eq!(&*span.parent_span_id, [0xef; 8]);
    assert_eq!((&*span.name, span.kind, span.status.clone()), ("GET", 2, None));
    let start = span.start_time_unix_nano;
    assert_eq!(start, 1_795_422_552_123_000_000);
    assert_eq!(span.end_time_unix_nano - start, 61_000_000);
    let events: Vec<_> =
        span.events.iter().map(|it| (&*it.name, (it.time_unix_nano - start) / 1_000)).collect();
    let stages =
        [("queued", 1_000), ("dispatched", 2_500), ("sent", 2_700), ("response head", 50_000)];
    assert_eq!(events, stages, "in microseconds");
    for (key, value) in [
        ("http.request.method", Any::StringValue("GET".to_owned())),
        ("url.scheme", Any::StringValue("https".to_owned())),
        ("url.path", Any::StringValue("/a%20b".to_owned())),
        ("server.address", Any::StringValue("shop.example".to_owned())),
        ("server.port", Any::IntValue(8_443)),
        ("client.address", Any::StringValue("192.0.2.7".to_owned())),
        ("network.peer.address", Any::StringValue("10.0.0.1".to_owned())),
        ("http.response.status_code", Any::IntValue(200)),
        ("network.protocol.version", Any::StringValue("1.1".to_owned())),
        ("lambda_dispatch.request_id", Any::StringValue("abc-1".to_owned())),
        ("lambda_dispatch.pool", Any::StringValue("web".to_owned())),
        ("lambda_dispatch.queue_ms", Any::DoubleValue(1.5)),
        ("lambda_dispatch.cold_exposed", Any::BoolValue(false)),
    ] {
        assert_eq!(text(&span.attributes, key), Some(&value), "{key}");
    }
    assert_eq!(text(&span.attributes, "error.type"), None);
    assert_eq!(fates(&metrics)[0], ("exported", 1));
}

#[test]
fn a_request_that_failed_is_an_error_and_one_whose_client_erred_is_not() {
    let trace = traced().trace.unwrap();
    let of = |status, reason| span::of(&Access { status, reason, ..traced() }, trace);
    let failed = of(504, "response_timeout");
    assert_eq!(failed.status.as_ref().unwrap().code, 2);
    let error = failed.attributes.iter().find(|it| it.key == "error.type").unwrap();
    assert_eq!(*error, span::attribute("error.type", Value::Text("response_timeout".into())));
    assert_eq!(failed.status.unwrap().message, "response_timeout");
    let of_app = of(500, "served").status.unwrap();
    assert_eq!((&*of_app.message, of_app.code), ("", 2), "its status says enough");
    for (status, reason) in [(404, "served"), (408, "request_timeout"), (499, "client_gone")] {
        assert_eq!(of(status, reason).status, None, "{reason}");
    }
    let strange = Access { method: "BREW".parse().unwrap(), ..traced() };
    assert_eq!(span::of(&strange, trace).name, "HTTP", "no client makes names");
    let hostile = Access { target: "é".repeat(10_000), host: "[::1".to_owned(), ..traced() };
    assert!(span::of(&hostile, trace).encoded_len() < 4_000);
    let status = |access| {
        let span = span::of(&access, trace);
        span.attributes.into_iter().find(|it| it.key == "http.response.status_code")?.value?.value
    };
    assert_eq!(status(Access { status: 499, ..traced() }), Some(Value::Number(499)), "the app's");
    assert_eq!(status(Access { status: 499, first_byte: None, ..traced() }), None, "none was sent");
}

#[test]
fn what_waits_for_a_collector_is_no_larger_than_what_it_will_be_sent() {
    let long = "x".repeat(60_000);
    let (method, user_agent) = (long.parse().unwrap(), Some(long.clone()));
    let (queue, mut queued) = mpsc::channel(1);
    let spans = Spans { queue, metrics: Metrics::new() };
    spans.record(&Access { method, target: long.clone(), host: long, user_agent, ..traced() });
    let waiting = format!("{:?}", queued.try_recv().unwrap());
    assert!(waiting.len() < 16_000, "{} bytes", waiting.len());
}

#[tokio::test]
async fn spans_that_a_collector_does_not_take_at_first_are_sent_again() {
    let answers = vec![("503 Service Unavailable", Vec::new()), ("200 OK", Vec::new())];
    let (address, mut received) = collector(answers).await;
    let metrics = Metrics::new();
    let sending = Sending::start(&traces(address), nothing, &metrics).unwrap();
    // As many as are sent at once.
    for _ in 0..512 {
        sending.log().record(&traced());
    }
    for _ in 0..2 {
        assert_eq!(received.recv().await.unwrap().spans().len(), 512);
    }
    sending.finish().await;
    assert_eq!(fates(&metrics)[0], ("exported", 512));
}

#[tokio::test]
async fn spans_that_a_collector_refuses_are_counted() {
    let partial = ExportTracePartialSuccess { rejected_spans: 1, ..Default::default() };
    let partial = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    for (status, body, expected) in
        [("400 Bad Request", Vec::new(), [0, 2]), ("200 OK", partial, [1, 1])]
    {
        let (address, _received) = collector(vec![(status, body)]).await;
        let metrics = Metrics::new();
        let sending = Sending::start(&traces(address), nothing, &metrics).unwrap();
        sending.log().record(&traced());
        sending.log().record(&traced());
        sending.finish().await;
        let [exported, _, rejected, _] = fates(&metrics);
        assert_eq!([exported.1, rejected.1], expected, "{status}");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let metrics = Metrics::new();
    let sending = Sending::start(&traces(gone), nothing, &metrics).unwrap();
    let log = sending.log();
    // Nothing else runs meanwhile, so that the queue fills up.
    for _ in 0..QUEUE_LEN_MAX + 7 {
        log.record(&traced());
    }
    sending.finish().await;
    assert_eq!(
        fates(&metrics),
        [
            ("exported", 0),
            ("queue_full", 7),
            ("rejected", 0),
            ("unreachable", QUEUE_LEN_MAX as u64)
        ]
    );
}

#[test]
fn requests_take_their_place_in_the_trace_that_they_name_or_begin_one() {
    let place = |sampler: &str, lines: &[(&'static str, &str)]| {
        let sampler = Sampler::new(sampler, 1.0);
        let places = Places { sampler, clock: Clock::start(), seed: 7, count: AtomicU64::new(0) };
        let mut request = http::Request::new(());
        for (name, value) in lines {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let trace = places.begin(&mut request);
        let told = request.headers()["traceparent"].to_str().unwrap().to_owned();
        (trace, told)
    };
    let client = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (trace, told) = place("parentbased_always_off", &[("traceparent", client)]);
    let trace = trace.expect("its client records it");
    assert_eq!(trace.parent, Some(0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()));
    let span: String = trace.span.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(told, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{span}-01"));

    let (trace, told) = place("always_off", &[("traceparent", client)]);
    assert_eq!(trace, None);
    assert!(told.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && told.ends_with("-00"));

    let balancer = "Root=1-5759e988-bd862e3fe1be46a994272793";
    let (trace, told) = place("always_on", &[("x-amzn-trace-id", balancer)]);
    assert_eq!(trace.unwrap().parent, None);
    assert!(told.starts_with("00-5759e988bd862e3fe1be46a994272793-"), "{told}");

    let (one, other) = (place("always_on", &[]).0.unwrap(), place("always_on", &[]).0.unwrap());
    assert_eq!((one.parent, one.id == [0; 16]), (None, false));
    assert_eq!(one.id[4..], other.id[4..], "the same seed");
}

#[test]
fn ids_do_not_come_twice() {
    let sampler = Sampler::new("always_on", 1.0);
    let places = Places { sampler, clock: Clock::start(), seed: 7, count: AtomicU64::new(0) };
    let ids: std::collections::BTreeSet<_> = (0..10_000)
        .map(|_| places.begin(&mut http::Request::new(())).unwrap())
        .flat_map(|trace| [trace.id.to_vec(), trace.span.to_vec()])
        .collect();
    assert_eq!(ids.len(), 20_000);
}

#[tokio::test]
async fn a_variable_that_is_wrong_is_ignored_and_named_but_not_shown() {
    let address = "127.0.0.1:4318".parse().unwrap();
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret%0a"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "bad name=secret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "=secret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=secret,c"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=secret%zz"),
    ] {
        let variable = |asked: &str| (asked == name).then(|| value.to_owned());
        let said = logged(Format::Text, "info", || {
            Sending::start(&traces(address), variable, &Metrics::new()).unwrap();
        });
        assert!(said.contains(&format!("{name} was ignored")), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
    assert_eq!(
        pairs(" a = 1 ,, b=2%2C3%20 "),
        Some(vec![("a".into(), "1".into()), ("b".into(), "2,3 ".into())])
    );
}
