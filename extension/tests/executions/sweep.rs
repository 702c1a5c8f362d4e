//! Every cut there is.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::cutting_proxy::{Bytes, Cut, How};
use crate::world::{Place, Shown, Story, play};

/// What all runs showed together.
#[derive(Debug, Default)]
struct Totals {
    runs: usize,
    served: usize,
    failed: usize,
    cut_short: usize,
    repeated: usize,
}

/// One run in a world of its own, of which nothing is left afterwards.
fn run(story: Story, place: Place, cut: Option<Cut>) -> Shown {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(play(story, place, cut))
}

/// Cuts at every byte of what `story` sends, from where `begins` says.
fn sweep(story: Story, place: Place, begins: impl Fn(Bytes, &[u8]) -> usize) {
    // Twice, since a date or a lease may be a digit longer the second time.
    let whole = [run(story, place, None), run(story, place, None)];
    for shown in &whole {
        assert!(shown.answers.iter().all(|it| it.status == 200 && it.whole), "{shown}");
    }
    let mut cuts = Vec::new();
    for (bytes, index) in [(Bytes::There, 0), (Bytes::Back, 1)] {
        let length = whole.iter().map(|shown| first_link(&shown.passed[index])).max().unwrap();
        for how in [How::Reset, How::End] {
            let offsets = begins(bytes, &whole[0].passed[index])..=length;
            cuts.extend(offsets.map(|after| Cut { bytes, after, how }));
        }
    }
    let attach = match place {
        Place::Link => after_the_attach(Bytes::There, &whole[0].passed[0]),
        Place::App => 0,
    };
    let (next, totals) = (AtomicUsize::new(0), Mutex::new(Totals::default()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(cut) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let shown = run(story, place, Some(*cut));
                    check(&shown, story, place, *cut, attach);
                    totals.lock().unwrap().add(&shown);
                }
            });
        }
    });
    let totals = totals.into_inner().unwrap();
    println!("{story:?} at {place:?}: {totals:?}");
    assert_eq!(totals.runs, cuts.len());
}

/// `attach` is how many bytes an instance sends before it may be given anything.
fn check(shown: &Shown, story: Story, place: Place, cut: Cut, attach: usize) {
    let asked = u32::try_from(shown.answers.len()).unwrap();
    let context = || format!("{story:?} at {place:?} with {cut:?}: {shown}");
    assert!(shown.begun <= asked, "an app saw bytes of a request twice: {}", context());
    let too_early = place == Place::Link && cut.bytes == Bytes::There && cut.after < attach;
    for answer in &shown.answers {
        assert!(answer.executed <= 1, "executed twice: {}", context());
        let served = answer.status == 200 && answer.whole;
        assert!(!served || answer.executed == 1, "nobody did what was answered: {}", context());
        assert!(matches!(answer.status, 0 | 200 | 502), "an answer of its own: {}", context());
        let blameless = too_early || !shown.has_cut;
        assert!(served || !blameless, "it failed for no reason: {}", context());
    }
}

impl Totals {
    fn add(&mut self, shown: &Shown) {
        self.runs += 1;
        for answer in &shown.answers {
            match answer.status {
                200 if answer.whole => self.served += 1,
                0 | 200 => self.cut_short += 1,
                _ => self.failed += 1,
            }
        }
        self.repeated += shown.attempts.iter().filter(|attempts| **attempts > 1).count();
    }
}

/// From the first byte.
fn all(_: Bytes, _: &[u8]) -> usize {
    0
}

/// Where a second link begins, if one does: that it is cut is another story.
fn first_link(passed: &[u8]) -> usize {
    let starts = |it: &[u8]| it.starts_with(b"GET /_lambda") || it.starts_with(b"HTTP/1.1 101");
    let second = (1..passed.len()).find(|at| starts(&passed[*at..]));
    second.unwrap_or(passed.len())
}

/// From where HTTP/2 begins on a link; what comes before is the same for every story.
fn after_the_attach(_: Bytes, passed: &[u8]) -> usize {
    passed.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4
}

#[test]
fn a_get_is_executed_at_most_once_wherever_the_link_is_cut() {
    sweep(Story::Get, Place::Link, all);
}

#[test]
fn a_post_is_executed_at_most_once_wherever_the_link_is_cut() {
    sweep(Story::Post, Place::Link, after_the_attach);
}

#[test]
fn requests_one_after_the_other_are_executed_at_most_once_wherever_the_link_is_cut() {
    sweep(Story::Again, Place::Link, after_the_attach);
}

#[test]
fn requests_that_share_a_link_are_executed_at_most_once_wherever_it_is_cut() {
    sweep(Story::Together, Place::Link, after_the_attach);
}

#[test]
fn requests_around_a_goaway_are_executed_at_most_once_wherever_the_link_is_cut() {
    sweep(Story::Goaway, Place::Link, after_the_attach);
}

#[test]
fn a_get_is_executed_at_most_once_wherever_the_app_is_cut_off() {
    sweep(Story::Get, Place::App, all);
}

#[test]
fn a_post_is_executed_at_most_once_wherever_the_app_is_cut_off() {
    sweep(Story::Post, Place::App, all);
}

#[test]
fn requests_on_one_connection_are_executed_at_most_once_wherever_the_app_is_cut_off() {
    sweep(Story::Again, Place::App, all);
}

#[test]
fn requests_at_once_are_executed_at_most_once_wherever_the_app_is_cut_off() {
    sweep(Story::Together, Place::App, all);
}

/// More than there are processors: most of a run is waiting.
const THREADS: usize = 16;
