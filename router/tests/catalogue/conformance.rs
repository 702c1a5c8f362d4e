//! The rows of the catalogue against nginx, HAProxy and this router, each in front of the same app.
//! `bench/conformance/run` runs it.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::http2::Malformed;
use crate::play::play;
use crate::raw_app::RawApp;
use crate::row::{May, Row};
use crate::stage::{Stage, free_addresses, until};
use crate::{SETTINGS, answer_rows, framing_rows, head_rows, http2};

/// One proxy, ready to be played against.
struct Proxy {
    name: String,
    http1: SocketAddr,
    http2: SocketAddr,
    app: RawApp,
    process: Process,
}

/// What ends with a proxy.
enum Process {
    Other { _child: Box<Child>, _folder: Folder },
    Ours { _stage: Box<Stage> },
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// What came of a row: nothing wrong, or what.
struct Verdict {
    statuses: String,
    fault: Option<String>,
}

impl Proxy {
    async fn ours() -> Self {
        let (stage, app) = RawApp::stage(SETTINGS).await;
        assert_eq!(stage.router.get("/first").await.status, 200);
        let http1 = stage.router.http;
        let name = concat!("lambda-dispatch ", env!("CARGO_PKG_VERSION")).to_owned();
        Self { name, http1, http2: http1, app, process: Process::Ours { _stage: Box::new(stage) } }
    }

    /// A program with a configuration, before which `flag` stands.
    async fn other(program: &str, flag: &str, configuration: &str) -> Self {
        let app = RawApp::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(app.clone().serve(listener));
        let folder = Folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join(program));
        std::fs::create_dir_all(&folder.0).unwrap();
        let [http1, http2] = free_addresses();
        let text =
            std::fs::read_to_string(bench().join("conformance").join(configuration)).unwrap();
        let text = text
            .replace("__FOLDER__", folder.0.to_str().unwrap())
            .replace("__HTTP1__", &http1.port().to_string())
            .replace("__HTTP2__", &http2.port().to_string())
            .replace("__APP__", &port.to_string());
        let file = folder.0.join(configuration);
        std::fs::write(&file, text).unwrap();
        let version = Command::new(program).arg("-v").output().await.unwrap();
        let said = [version.stdout, version.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        let number = said
            .split([' ', '/', '\n'])
            .find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        let name = format!("{program} {}", number.unwrap());
        let mut command = Command::new(program);
        command.arg(flag).arg(file).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().unwrap();
        until("the proxy listens", async || {
            let http1 = tokio::net::TcpStream::connect(http1).await;
            http1.is_ok() && tokio::net::TcpStream::connect(http2).await.is_ok()
        })
        .await;
        Self {
            name,
            http1,
            http2,
            app,
            process: Process::Other { _child: Box::new(child), _folder: folder },
        }
    }

    async fn play(&self, row: &Row) -> Verdict {
        let outcome = play(row, self.http1, &self.app, QUIET).await;
        let statuses: Vec<_> = outcome.statuses.iter().map(u16::to_string).collect();
        let statuses = match (statuses.is_empty(), outcome.closed) {
            (true, true) => "closes".to_owned(),
            (true, false) => "waits".to_owned(),
            (false, _) => statuses.join(", "),
        };
        Verdict { statuses, fault: outcome.fault(row) }
    }

    async fn play_http2(&self, row: &Malformed) -> Verdict {
        let (came, fault) = row.play(self.http2, &self.app).await;
        Verdict { statuses: format!("{came:?}"), fault }
    }
}

/// Nothing where the row is a promise of ours and the proxy is another.
fn spawn_play(
    proxy: Arc<Proxy>,
    rows: &Arc<Vec<Row>>,
    place: usize,
) -> JoinHandle<Option<Verdict>> {
    let rows = Arc::clone(rows);
    tokio::spawn(async move {
        let row = &rows[place];
        let is_asked = !row.is_ours || matches!(proxy.process, Process::Ours { .. });
        if is_asked { Some(proxy.play(row).await) } else { None }
    })
}

fn bench() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench")
}

/// What is expected, in words.
fn expected(may: &May) -> &'static str {
    match may {
        May::Refuse => "refused, and the app sees nothing",
        May::RefuseBody => "refused, and never whole at the app",
        May::Pass(passed) if !passed.lacks.is_empty() => "passed on, and cleaned",
        May::Pass(_) => "passed on as it is",
        May::RefuseOrPass(_) => "refused, or passed on in one reading",
        May::FailApp => "502 to 504",
        May::FailOrAnswer(_) => "502 to 504, or the answer",
        May::Answer { .. } => "the answer, cleaned",
        May::CutAnswer => "cut, or 502 to 504",
    }
}

/// The table's lines, and the rows that we fail and others pass.
struct Table {
    text: String,
    passed: Vec<usize>,
    rows: Vec<usize>,
    behind: Vec<String>,
}

impl Table {
    /// A line; the last verdict is ours, and the only one where others are not asked.
    fn row(&mut self, number: &str, name: &str, expected: &str, verdicts: &[Option<Verdict>]) {
        write!(self.text, "| {number} | {} | {expected} |", name.replace('|', "\\|")).unwrap();
        for (proxy, verdict) in verdicts.iter().enumerate() {
            let Some(verdict) = verdict else {
                self.text.push_str(" – |");
                continue;
            };
            self.rows[proxy] += 1;
            self.passed[proxy] += usize::from(verdict.fault.is_none());
            match &verdict.fault {
                None => write!(self.text, " ✓ {} |", verdict.statuses).unwrap(),
                Some(fault) => {
                    let fault = fault.replace('|', "\\|").replace('\n', " ");
                    write!(self.text, " ✗ {}: {fault} |", verdict.statuses).unwrap();
                }
            }
        }
        self.text.push('\n');
        let fails =
            |verdict: &Option<Verdict>| verdict.as_ref().is_some_and(|it| it.fault.is_some());
        let passes =
            |verdict: &Option<Verdict>| verdict.as_ref().is_some_and(|it| it.fault.is_none());
        if let Some((ours, others)) = verdicts.split_last()
            && fails(ours)
            && (others.iter().any(passes) || others.iter().all(Option::is_none))
        {
            self.behind.push(format!("{number} {name}"));
        }
    }

    fn heading(&mut self, title: &str, proxies: &[Arc<Proxy>]) {
        write!(self.text, "\n## {title}\n\n| row | input | expected |").unwrap();
        for proxy in proxies {
            write!(self.text, " {} |", proxy.name).unwrap();
        }
        writeln!(self.text, "\n|---|---|---|{}", "---|".repeat(proxies.len())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy; bench/conformance/run has them"]
async fn conformance() {
    let proxies = [
        Proxy::other("nginx", "-c", "nginx.conf").await,
        Proxy::other("haproxy", "-f", "haproxy.cfg").await,
        Proxy::ours().await,
    ]
    .map(Arc::new);
    let mut table =
        Table { text: String::new(), passed: vec![0; 3], rows: vec![0; 3], behind: Vec::new() };
    for (title, rows) in [
        ("Framing", framing_rows::rows()),
        ("Request line, host, headers, hops", head_rows::rows()),
        ("What an app answers", answer_rows::rows()),
    ] {
        table.heading(title, &proxies);
        let rows = Arc::new(rows);
        for first in (0..rows.len()).step_by(AT_ONCE) {
            let places = first..rows.len().min(first + AT_ONCE);
            let playing: Vec<_> = places
                .clone()
                .map(|place| proxies.clone().map(|proxy| spawn_play(proxy, &rows, place)))
                .collect();
            for (place, playing) in places.zip(playing) {
                let mut verdicts = Vec::new();
                for verdict in playing {
                    verdicts.push(verdict.await.unwrap());
                }
                let row = &rows[place];
                table.row(row.number, row.name, expected(&row.may), &verdicts);
            }
        }
    }
    table.heading("HTTP/2", &proxies);
    for row in http2::malformed() {
        let [nginx, haproxy, ours] = &proxies;
        let (nginx, haproxy, ours) =
            tokio::join!(nginx.play_http2(&row), haproxy.play_http2(&row), ours.play_http2(&row));
        let (number, name) = row.name.split_once(' ').unwrap();
        let verdicts = [Some(nginx), Some(haproxy), Some(ours)];
        table.row(number, name, "reset or refused, and never whole at the app", &verdicts);
    }
    let page = page(&proxies, &table);
    std::fs::write(bench().join("conformance.md"), page).unwrap();
    assert!(table.behind.is_empty(), "behind others: {}", table.behind.join("; "));
}

fn page(proxies: &[Arc<Proxy>], table: &Table) -> String {
    let mut page = String::from(INTRODUCTION);
    let date = std::process::Command::new("date").arg("+%F").output().unwrap().stdout;
    writeln!(page, "Made on {}.\n", String::from_utf8(date).unwrap().trim()).unwrap();
    page.push_str("| | rows | as expected |\n|---|---|---|\n");
    for (place, proxy) in proxies.iter().enumerate() {
        let (rows, passed) = (table.rows[place], table.passed[place]);
        writeln!(page, "| {} | {rows} | {passed} |", proxy.name).unwrap();
    }
    page + &table.text
}

const INTRODUCTION: &str = "\
# Conformance

What becomes of hostile and faulty input in nginx, HAProxy and this router, each in front of the
same app, which notes every byte that it is sent. nginx and HAProxy are Debian's packages with the
configurations in `bench/conformance/`. `bench/conformance/run` makes this page and fails if this
router fails a row that another passes; the rows are those of the tests in
`router/tests/catalogue/`, where their bytes are.

A row is as expected (✓) if the client got what the row allows *and* the app saw what it may see.
Behind the mark is what the client got: statuses, or `closes` (without an answer), or `waits`
(neither an answer nor an end for five seconds); for HTTP/2 what became of the stream. Rows that are
promises of this router alone are marked –.

One input is in no row, for the library that reads HTTP/2 takes off what is wrong with it before
this router sees it: `:path: /a#b`, with a fragment, reaches the app as `/a`. In HTTP/1 it is
refused.

";
/// Rows that are played at once, since waiting is most of it.
const AT_ONCE: usize = 12;
/// Longer than any of them takes on a slow machine, where it answers at all.
const QUIET: Duration = Duration::from_secs(5);
