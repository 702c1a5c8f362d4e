//! Recordings on disk, as people have them: several files, compressed or not, in any order, and
//! some of them broken.

#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "helpers of tests")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use dispatch_model::{
    Config, Ending, Input, InstanceId, Limits, Output, RefuseReason, RequestId, Time,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use io_tokio::recording::{Origin, Step, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use reports::traffic::{Format, Opened, import};
use reports::{Progress, Service, Spread, Traffic, TrafficError};
use sim::outside::Source;
use sim::traffic::Arrival;

const FORMATS: [Format; 5] =
    [Format::Alb, Format::Azure2019, Format::Cloudwatch, Format::Csv, Format::Flight];

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings")
}

/// What nobody knows takes 7 ms, and everything under `/cart` needs a CPU all the time.
fn open(toml: &str, folder: &Path) -> Result<Opened, TrafficError> {
    let traffic: Traffic = toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}: {error}"));
    let service: Service = toml::from_str(
        "time = '7ms'
        route = [{ path = '/cart', time = '9ms', cpu = 1 }]",
    )
    .unwrap();
    traffic.open(&service, folder, &Progress::default())
}

fn arrivals(opened: &Opened, seed: u64) -> Vec<Arrival> {
    let mut stream = opened.stream(seed);
    let all: Vec<_> = std::iter::from_fn(|| stream.next()).collect();
    assert!(all.is_sorted_by_key(|arrival| arrival.at));
    assert!(all.iter().all(|arrival| arrival.at < Time::ZERO + opened.span()));
    all
}

fn per_minute(arrivals: &[Arrival]) -> Vec<usize> {
    let minute = |arrival: &Arrival| arrival.at.as_nanos() / 60_000_000_000;
    let last = arrivals.last().map_or(0, minute);
    (0..=last)
        .map(|this| arrivals.iter().filter(|arrival| minute(arrival) == this).count())
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn access_logs_are_merged_from_unordered_files_of_which_some_are_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let first = fs::read(recordings().join("alb.log")).unwrap();
    fs::create_dir(folder.path().join("25")).unwrap();
    // Two members, as of files that were joined.
    let (one, other) = first.split_at(700);
    fs::write(folder.path().join("25/b.log.gz"), [gzip(one), gzip(other)].concat()).unwrap();
    fs::copy(recordings().join("alb-second.log"), folder.path().join("25/a.log")).unwrap();

    let opened = open("kind = 'alb'\nfiles = ['*/*.log*']", folder.path()).unwrap();
    let all = arrivals(&opened, 7);
    assert_eq!(all.len(), 20);
    // One request every 250 ms, two of which reached no target.
    for (number, arrival) in (0..).zip(&all) {
        assert_eq!(arrival.at, Time::from_millis(250 * number));
        let untimed = matches!(number, 7 | 13);
        assert_eq!(arrival.service == Duration::from_millis(7), untimed, "{arrival:?}");
        let cart = number % 4 == 0;
        assert_eq!(arrival.cpu, if cart { arrival.service } else { Duration::ZERO });
    }
    let recording = opened.recording().unwrap();
    assert_eq!((recording.requests(), recording.untimed()), (20, 2));
    assert_eq!(
        opened.about(),
        "access logs of an ALB in */*.log*, over 1m: 2 of 20 requests take the plan's service time"
    );
    let bad = opened.bad();
    assert_eq!(bad.lines, 2);
    assert!(bad.first[0].ends_with("25/a.log:4: it has fewer than 7 fields"), "{bad:?}");
    assert!(bad.first[1].ends_with("25/a.log:7: its 22nd field is no moment"), "{bad:?}");
}

#[test]
fn file_of_something_else_stops_with_what_a_line_must_look_like() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.log"), "hello\nworld\n").unwrap();
    let error = open("kind = 'alb'\nfiles = ['a.log']", folder.path()).unwrap_err().to_string();
    for part in ["a.log: 2 of its first 2 lines", "line 1 is `hello`", "the 22nd", "…"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn compressed_file_that_was_cut_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let whole = gzip(&fs::read(recordings().join("alb.log")).unwrap());
    for length in [5, 20, whole.len() / 2, whole.len() - 1] {
        fs::write(folder.path().join("a.log.gz"), &whole[..length]).unwrap();
        let error = open("kind = 'alb'\nfiles = ['a.log.gz']", folder.path()).unwrap_err();
        assert!(matches!(error, TrafficError::Read { .. }), "{length}: {error:?}");
        assert!(error.to_string().contains("a.log.gz cannot be read"), "{error}");
    }
}

#[test]
fn reading_ends_when_nobody_wants_the_report_any_more() {
    for (kind, file) in [
        ("alb", "alb.log"),
        ("azure-2019", "azure-d01.csv"),
        ("cloudwatch", "cloudwatch.csv"),
        ("cloudwatch", "cloudwatch-data.json"),
        ("csv", "requests.csv"),
    ] {
        let traffic: Traffic = toml::from_str(&format!("kind = '{kind}'\nfiles = ['{file}']"))
            .unwrap_or_else(|error| panic!("{kind}: {error}"));
        let service = Service::new(Spread::fixed(Duration::ZERO));
        let progress = Progress::default();
        assert!(traffic.open(&service, &recordings(), &progress).is_ok(), "{file}");
        progress.stop();
        let error = traffic.open(&service, &recordings(), &progress).unwrap_err();
        assert!(matches!(error, TrafficError::Stopped), "{file}: {error}");
    }
}

#[test]
fn files_that_are_not_there_or_hold_nothing_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = open("kind = 'csv'\nfiles = ['*.csv']", folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("no file is called") && error.contains("*.csv"), "{error}");
    fs::write(folder.path().join("a.csv"), "arrival\n").unwrap();
    let error = open("kind = 'csv'\nfiles = ['*.csv']", folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("there is no request in *.csv"), "{error}");
}

/// Twelve requests that a target answered in 40 ms, and one that failed to reach any, each after
/// one that ends with `actions` and has no target.
fn log_with(actions: &str) -> String {
    let line = |second: u32, target: &str, times: &str, actions: &str| {
        format!(
            "https 2026-11-25T06:00:{second:02}.5Z app/shop/50dc 192.0.2.1:2817 {target} {times} \
             301 - 34 366 \"GET https://shop.example:443/x HTTP/1.1\" \"curl/8\" - - - \"Root=1\" \
             \"-\" \"-\" 0 2026-11-25T06:00:{second:02}Z \"{actions}\" \"-\" \"-\"\n"
        )
    };
    let pair = |second| {
        let (target, times) = match second {
            12 => ("-", "-1 -1 -1"),
            _ => ("10.0.0.1:80", "0.000 0.040 0.000"),
        };
        line(second, "-", "-1 -1 -1", actions) + &line(second, target, times, "waf,forward")
    };
    (0..13).map(pair).collect()
}

#[test]
fn what_a_load_balancer_answers_by_itself_is_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    for (actions, requests) in [
        ("redirect", 13),
        ("waf,fixed-response", 13),
        ("waf", 13),
        ("authenticate", 13),
        ("forward", 26),
        ("authenticate,forward", 26),
        ("waf-failed", 26),
        ("-", 26),
    ] {
        fs::write(folder.path().join("a.log"), log_with(actions)).unwrap();
        let opened = open("kind = 'alb'\nfiles = ['a.log']", folder.path()).unwrap();
        let recording = opened.recording().unwrap();
        let left_out = 26 - requests;
        assert_eq!((recording.requests(), recording.answered_before()), (requests, left_out));
        assert_eq!(recording.untimed(), requests - 12, "{actions}");
        assert_eq!(opened.bad().lines, 0);
        let assumptions = opened.assumptions();
        let told = assumptions.iter().any(|it| it.contains("13 requests that the load balancer"));
        assert_eq!(told, left_out > 0, "{actions}: {assumptions:?}");
    }
}

#[test]
fn recording_may_come_through_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("log.pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = thread::spawn(move || fs::write(pipe, "arrival\n1\n2\n"));
    let opened = open("kind = 'csv'\nfiles = ['log.pipe']", folder.path()).unwrap();
    assert_eq!(opened.recording().unwrap().requests(), 2);
    writer.join().unwrap().unwrap();
}

#[test]
fn folder_is_refused_with_the_pattern_of_its_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("logs")).unwrap();
    fs::create_dir(folder.path().join("logs/older")).unwrap();
    fs::write(folder.path().join("logs/a.csv"), "arrival\n5\n").unwrap();
    let error = open("kind = 'csv'\nfiles = ['logs/']", folder.path()).unwrap_err().to_string();
    assert!(error.contains("logs/ is a folder; write "), "{error}");
    assert!(error.ends_with("logs/* for the files in it"), "{error}");
    let opened = open("kind = 'csv'\nfiles = ['logs/*']", folder.path()).unwrap();
    assert_eq!(opened.recording().unwrap().requests(), 1);
}

#[test]
fn field_of_a_table_may_have_doubled_quotation_marks_and_commas() {
    let folder = tempfile::tempdir().unwrap();
    let table = "route,arrival,service\n\"/cart?q=\"\"x,y\"\"\",0,0.1\n";
    fs::write(folder.path().join("a.csv"), table).unwrap();
    let opened = open("kind = 'csv'\nfiles = ['a.csv']", folder.path()).unwrap();
    let all = arrivals(&opened, 7);
    assert_eq!(all.len(), 1);
    let time = Duration::from_millis(100);
    assert_eq!((all[0].service, all[0].cpu), (time, time), "it is one of /cart");
}

#[test]
fn path_with_the_characters_of_a_pattern_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a[1].csv"), "arrival\n5\n").unwrap();
    let opened = open("kind = 'csv'\nfiles = ['a[1].csv']", folder.path()).unwrap();
    assert_eq!(arrivals(&opened, 7).len(), 1);
}

#[test]
fn table_may_write_its_times_in_several_ways() {
    let opened = open("kind = 'csv'\nfiles = ['requests.csv']", &recordings()).unwrap();
    for (number, arrival) in (0..).zip(arrivals(&opened, 7)) {
        assert_eq!(arrival.at, Time::from_millis(1_000 * number));
        let (cart, untimed) = (number % 2 == 1, number % 3 == 2);
        let ms = if !untimed {
            40
        } else if cart {
            9
        } else {
            7
        };
        assert_eq!(arrival.service, Duration::from_millis(ms), "{number}");
    }
    assert_eq!(opened.bad().lines, 0);
    assert_eq!(opened.recording().unwrap().requests(), 19);
}

#[test]
fn table_without_arrivals_is_refused_with_the_columns_it_needs() {
    let error = import(Format::Csv, b"time,service\n1,2\n").unwrap_err().to_string();
    assert!(error.contains("`time,service`; it must name the columns: `arrival`"), "{error}");
    let error = import(Format::Csv, b"arrival\nnoon\nnight\n").unwrap_err().to_string();
    assert!(error.contains("ISO 8601, or a number of seconds, or of milliseconds"), "{error}");
}

#[test]
fn recording_may_be_cut_short_and_multiplied() {
    let toml = "kind = 'csv'\nfiles = ['requests.csv']\nfor = '10s'\nscale = 3";
    let opened = open(toml, &recordings()).unwrap();
    assert_eq!(opened.span(), Duration::from_secs(10));
    assert_eq!(arrivals(&opened, 7).len(), 30);
}

#[test]
fn recording_lasts_as_long_as_it_is_told_and_else_a_minute_at_least() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("one.csv"), "arrival\n5\n").unwrap();
    fs::write(folder.path().join("more.csv"), "arrival\n0\n100\n").unwrap();
    for (file, end, seconds) in [
        ("one.csv", "", 60.0),
        ("one.csv", "for = '1h'", 3_600.0),
        ("one.csv", "for = '10s'", 10.0),
        ("more.csv", "", 100.000_000_001),
        ("more.csv", "for = '1h'", 3_600.0),
        ("more.csv", "for = '50s'", 50.0),
    ] {
        let toml = format!("kind = 'csv'\nfiles = ['{file}']\n{end}");
        let opened = open(&toml, folder.path()).unwrap();
        assert_eq!(opened.span(), Duration::from_secs_f64(seconds), "{toml}");
        assert_eq!(opened.stream(7).lasts(), Time::ZERO + opened.span(), "{toml}");
    }
}

#[test]
fn counts_of_a_minute_are_kept_exactly_whatever_the_seed() {
    let opened = open("kind = 'cloudwatch'\nfiles = ['cloudwatch.csv']", &recordings()).unwrap();
    assert_eq!(opened.span(), Duration::from_mins(18));
    let expected: Vec<_> = (0..18).map(|m| if m == 5 { 0 } else { m * 3 % 17 }).collect();
    let last = expected.iter().rposition(|count| *count > 0).unwrap();
    for seed in [7, 8] {
        assert_eq!(per_minute(&arrivals(&opened, seed)), expected[..=last]);
    }
    assert_ne!(arrivals(&opened, 7), arrivals(&opened, 8));
}

#[test]
fn counts_are_read_from_what_the_command_line_prints() {
    let minutes = |file: &str| {
        let toml = format!("kind = 'cloudwatch'\nfiles = ['{file}']");
        let opened = open(&toml, &recordings()).unwrap();
        (opened.span(), per_minute(&arrivals(&opened, 7)))
    };
    let (span, counts) = minutes("cloudwatch-statistics.json");
    assert_eq!(counts, (0..16).map(|minute| minute * 2).collect::<Vec<_>>());
    assert_eq!(span, Duration::from_mins(16));
    // A point every five minutes is about five minutes.
    let (span, counts) = minutes("cloudwatch-data.json");
    assert_eq!(counts.iter().sum::<usize>(), 30);
    assert_eq!(counts[5..10].iter().sum::<usize>(), 5);
    assert_eq!(span, Duration::from_mins(20));
}

/// Requests of an export.
fn exported(bytes: &[u8]) -> Result<u64, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("export"), bytes).unwrap();
    let opened = open("kind = 'cloudwatch'\nfiles = ['export']", folder.path());
    opened.map(|opened| opened.recording().unwrap().requests()).map_err(|why| why.to_string())
}

#[test]
fn only_series_with_the_metric_as_a_word_of_its_own_are_counted() {
    for (label, requests) in [
        ("RequestCount,RequestCountPerTarget", 1),
        ("ProvisionedConcurrencyInvocations,Invocations", 2),
        ("ProvisionedConcurrencySpilloverInvocations,shop Invocations", 2),
        ("Invocations-of-shop Duration,Invocations-of-shop Invocations", 2),
        ("app/shop/50dc RequestCount,app/cart/6ab1 RequestCount", 3),
        ("AWS/Lambda.Invocations,AWS/Lambda.Errors", 1),
    ] {
        let table = format!("Label,{label}\n2026-11-25T06:00:00Z,1,2\n");
        assert_eq!(exported(table.as_bytes()), Ok(requests), "{label}");
    }
    // The requests of a load balancer are the invokes of the function behind it.
    for (label, requests) in [
        ("RequestCount,Invocations", 1),
        ("fn Invocations,shop RequestCount", 2),
        ("fn Invocations,cart Invocations", 3),
    ] {
        let table = format!("Label,{label}\n2026-11-25T06:00:00Z,1,2\n");
        assert_eq!(exported(table.as_bytes()), Ok(requests), "{label}");
        let (one, other) = label.split_once(',').unwrap();
        let json = format!(
            r#"{{"MetricDataResults":[
                {{"Label":"{one}","Timestamps":["2026-11-25T06:00:00Z"],"Values":[1]}},
                {{"Label":"{other}","Timestamps":["2026-11-25T06:00:00Z"],"Values":[2]}}]}}"#
        );
        assert_eq!(exported(json.as_bytes()), Ok(requests), "{label}");
    }
    let error = exported(b"Label,RequestCountPerTarget,Errors\n2026-11-25T06:00:00Z,1,2\n");
    assert!(error.as_ref().is_err_and(|why| why.contains("one must be named")), "{error:?}");
}

#[test]
fn series_that_are_counted_are_named() {
    for (export, told) in [
        (
            "Full label,\"shop RequestCount\",\"fn Invocations\"\nLabel,RequestCount,Invocations\n\
             Period,60,60\n2026/11/25 06:13:00,600,600\n",
            "Taken for requests: shop RequestCount, as",
        ),
        ("Label,b Invocations,a Invocations\n2026/11/25 06:13,1,2\n", ": a Invocations, b Inv"),
        (
            r#"{"Label":"Errors","Datapoints":[{"Timestamp":"2026-11-25T06:00:00Z","Sum":5}]}"#,
            "Taken for requests: Errors, as",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("export"), export).unwrap();
        let opened = open("kind = 'cloudwatch'\nfiles = ['export']", folder.path()).unwrap();
        let said = opened.assumptions();
        assert!(said.iter().any(|it| it.contains(told)), "{told}: {said:?}");
    }
}

#[test]
fn period_that_a_table_states_is_taken_and_one_that_must_be_guessed_is_told() {
    let points = "2026/11/25 06:00:00,600\n2026/11/25 11:00:00,600\n";
    let guess = "They are taken for 18000s";
    for (head, plan, span, guessed) in [
        ("Period,60\nStatistic,Sum\n", "", Duration::from_mins(301), false),
        ("Statistic,Sum\n", "", Duration::from_hours(10), true),
        ("Period,60\n", "period = '5m'", Duration::from_mins(305), false),
        ("Period,\n", "", Duration::from_hours(10), true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let table = format!("Label,RequestCount\n{head}{points}");
        fs::write(folder.path().join("export"), table).unwrap();
        let toml = format!("kind = 'cloudwatch'\nfiles = ['export']\n{plan}");
        let opened = open(&toml, folder.path()).unwrap();
        assert_eq!(opened.span(), span, "{head}{plan}");
        let told = opened.assumptions().iter().any(|it| it.contains(guess));
        assert_eq!(told, guessed, "{:?}", opened.assumptions());
        if span == Duration::from_mins(301) {
            assert_eq!(per_minute(&arrivals(&opened, 7))[0], 600);
        }
    }
}

#[test]
fn tables_of_different_periods_are_refused_and_both_named() {
    let folder = tempfile::tempdir().unwrap();
    let table = |columns: &str, periods: &str, point: &str| {
        format!("Label,{columns}\nPeriod,{periods}\n2026/11/25 {point}\n")
    };
    let old = table("RequestCount", "300", "06:00:00,3000");
    fs::write(folder.path().join("old.csv"), &old).unwrap();
    fs::write(folder.path().join("new.csv"), table("RequestCount", "60", "06:05:00,600")).unwrap();
    let both = table("a RequestCount,b RequestCount,Errors", "60,300,5", "06:00:00,1,2,3");
    fs::write(folder.path().join("both.csv"), both).unwrap();
    for (files, named) in [
        ("'old.csv', 'new.csv'", ["new.csv:3: its counts are of 60s each", "old.csv of 300s"]),
        ("'both.csv'", ["both.csv:3: its counts are of 300s each", "both.csv of 60s"]),
    ] {
        let toml = format!("kind = 'cloudwatch'\nfiles = [{files}]");
        let error = open(&toml, folder.path()).expect_err(files).to_string();
        assert!(named.iter().all(|part| error.contains(part)), "{error}");
    }
    fs::write(folder.path().join("more.csv"), &old).unwrap();
    let same = "kind = 'cloudwatch'\nfiles = ['old.csv', 'more.csv']";
    assert_eq!(open(same, folder.path()).unwrap().span(), Duration::from_mins(5));
}

#[test]
fn text_as_windows_writes_it_is_read_or_told() {
    let json = r#"{"Datapoints":[{"Timestamp":"2026-11-25T06:00:00Z","Sum":5}]}"#;
    let table = "Label,RequestCount\n2026-11-25T06:00:00Z,5\n";
    for text in [json, table] {
        assert_eq!(exported(text.as_bytes()), Ok(5));
        assert_eq!(exported(&gzip(format!("\u{feff}{text}").as_bytes())), Ok(5), "{text}");
        assert_eq!(exported(format!("\u{feff}{text}").as_bytes()), Ok(5), "{text}");
        let text = format!("\u{feff}{text}");
        for write in [u16::to_le_bytes, u16::to_be_bytes] {
            let wide: Vec<_> = text.encode_utf16().flat_map(write).collect();
            let error = exported(&wide).unwrap_err();
            assert!(error.contains("UTF-16") && error.contains("utf8"), "{error}");
        }
    }
}

#[test]
fn export_of_something_else_says_what_to_export() {
    for (bytes, what) in [
        (r#"{"Datapoints":[{"Timestamp":"2026-11-25T06:00:00Z","Average":1.5}]}"#, "Sum`"),
        (r#"{"Datapoints":"#, "no export of CloudWatch"),
        ("{}", "RequestCount"),
        ("Label,a,b\n2026-11-25T06:00:00Z,1,2\n", "a, b; one must be named RequestCount"),
        ("2026/11/25,1\n", "there is no request"),
        ("\u{7f}ELF\0\n", "no table of CloudWatch"),
    ] {
        let error = exported(bytes.as_bytes()).unwrap_err();
        assert!(error.contains(what), "{bytes}: {error}");
    }
    let error = exported(b"Label,\xff\n").unwrap_err();
    assert!(error.contains("no table of CloudWatch"), "{error}");
}

#[test]
fn days_of_azure_follow_each_other_and_functions_take_their_own_times() {
    let toml =
        "kind = 'azure-2019'\nfiles = ['azure-d0*.csv']\ndurations = ['azure-durations.csv']";
    let opened = open(toml, &recordings()).unwrap();
    let all = arrivals(&opened, 7);
    let minutes = per_minute(&all);
    assert_eq!((minutes[..3].to_vec(), minutes[1_000], minutes[1_440]), (vec![1, 2, 3], 6, 20));
    assert_eq!((all.len(), opened.span()), (32, Duration::from_hours(48)));
    // The first three minutes are of one function each, and nobody knows the times of the third.
    assert!((10..=1_000).contains(&all[0].service.as_millis()), "{:?}", all[0]);
    assert!((20..=2_000).contains(&all[1].service.as_millis()), "{:?}", all[1]);
    assert!(all[3..6].iter().all(|arrival| arrival.service == Duration::from_millis(7)));

    let one = open(&format!("{toml}\nfunction = 'f02'"), &recordings()).unwrap();
    assert_eq!(per_minute(&arrivals(&one, 7))[..3], [0, 0, 3]);
    assert_eq!(one.span(), Duration::from_hours(24));
    assert_eq!(arrivals(&one, 7).len(), 5);
}

/// A request every second: served after a wait, refused, cancelled, sent twice, and still running.
fn flight() -> Vec<u8> {
    let config = Config::new(Limits::default()).unwrap();
    let start = Time::from_millis(5_000);
    let mut writer = Writer::new(&Origin::Fresh { config, seed: 7, start });
    let request = |number| RequestId::new(number, 0);
    let instance = InstanceId::new(0, 0);
    let dispatch = |number| {
        let (request, waited) = (request(number), Duration::ZERO);
        Step::Output(Output::Dispatch { request, instance, waited, cold_exposed: false })
    };
    let ended =
        |number, ending| Step::Input(Input::RequestEnded { request: request(number), ending });
    let arrived =
        |number| Step::Input(Input::RequestArrived { request: request(number), bytes: 500 });
    let refuse =
        Output::Refuse { request: request(1), reason: RefuseReason::QueueLength, retry_after_s: 1 };
    for (at, step) in [
        (5_000, arrived(0)),
        (5_300, dispatch(0)),
        (5_340, ended(0, Ending::Served)),
        (6_000, arrived(1)),
        (6_000, Step::Output(refuse)),
        (7_000, arrived(2)),
        (7_100, Step::Input(Input::RequestCancelled { request: request(2) })),
        (8_000, arrived(3)),
        (8_000, dispatch(3)),
        (8_500, ended(3, Ending::Undelivered)),
        (8_500, dispatch(3)),
        (8_550, ended(3, Ending::Served)),
        (9_000, arrived(4)),
        (9_000, dispatch(4)),
    ] {
        writer.step(Time::from_millis(at), step);
    }
    writer.take()
}

#[test]
fn flight_is_what_arrived_and_how_long_it_had_a_slot() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.rec"), flight()).unwrap();
    let opened = open("kind = 'flight'\nfiles = ['a.rec']", folder.path()).unwrap();
    let all: Vec<_> = arrivals(&opened, 7)
        .iter()
        .map(|arrival| (arrival.at.as_nanos() / 1_000_000, arrival.service.as_millis()))
        .collect();
    assert_eq!(all, [(0, 40), (1_000, 7), (2_000, 7), (3_000, 50), (4_000, 7)]);
    assert_eq!(opened.recording().unwrap().untimed(), 3);

    let error = import(Format::Flight, b"no flight").unwrap_err().to_string();
    assert!(error.contains("this is no recording"), "{error}");
}

#[test]
fn every_stream_of_a_recording_is_the_same() {
    let opened = open("kind = 'alb'\nfiles = ['alb*.log']", &recordings()).unwrap();
    let (mut one, mut other) = (opened.stream(7), opened.stream(7));
    while let Some(arrival) = one.next() {
        assert_eq!(other.next_at(), Some(arrival.at));
        assert_eq!(other.next(), Some(arrival));
    }
    assert_eq!(other.next(), None);
}

#[test]
fn damage_anywhere_makes_no_importer_panic() {
    let files = fs::read_dir(recordings()).unwrap();
    let mut all: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    all.push(flight());
    for bytes in all {
        for byte in (0..bytes.len()).step_by(97) {
            let mut damaged = bytes.clone();
            damaged[byte] ^= 0x15;
            for format in FORMATS {
                import(format, &damaged).ok();
                import(format, &damaged[byte / 2..]).ok();
            }
        }
    }
}

/// How files of each format begin, so that chance gets beyond that.
const HEADS: [&[u8]; 6] = [
    b"",
    b"\x1f\x8b\x08",
    b"arrival,service\n",
    b"{\"Datapoints\":[",
    b"Label,RequestCount\n2026-11-25T06:00:00Z,",
    b"LDRECORD\x02\0\0\0O",
];

fn byte() -> impl Strategy<Value = u8> {
    let special = proptest::sample::select(b",\n\" ".as_slice());
    prop_oneof![special, b'0'..=b'9', any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_bytes_make_an_importer_panic(bytes in vec(byte(), 0..600), head in 0..HEADS.len()) {
        let bytes = [HEADS[head], &bytes].concat();
        for format in FORMATS {
            if let Ok(recording) = import(format, &bytes) {
                prop_assert!(recording.untimed() <= recording.requests());
            }
        }
    }

    #[test]
    fn rows_of_a_table_are_all_there_and_in_order(
        rows in vec((0_u64..2_000_000, 0_u64..5_000), 1..80),
        files in 1_usize..4,
    ) {
        let folder = tempfile::tempdir().unwrap();
        for (number, part) in rows.chunks(rows.len().div_ceil(files)).enumerate() {
            let lines = part.iter().map(|(at, ms)| format!("{at},{ms}ms\n"));
            let text = std::iter::once("arrival,service\n".to_owned()).chain(lines);
            let text = text.collect::<String>();
            let bytes = if number % 2 == 0 { text.into_bytes() } else { gzip(text.as_bytes()) };
            fs::write(folder.path().join(format!("{number}.csv")), bytes).unwrap();
        }
        let opened = open("kind = 'csv'\nfiles = ['*.csv']", folder.path()).unwrap();
        let mut expected = rows;
        expected.sort_unstable();
        let first = expected[0].0;
        let ns = 1_000_000_000;
        let played: Vec<_> = arrivals(&opened, 7)
            .iter()
            .map(|arrival| (arrival.at.as_nanos() / ns + first, arrival.service.as_millis()))
            .collect();
        let expected: Vec<_> = expected.iter().map(|(at, ms)| (*at, u128::from(*ms))).collect();
        prop_assert_eq!(played, expected);
    }
}
