use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn service() -> Service {
    Service::new(Spread::fixed(Duration::from_millis(1)))
}

fn requests(all: &[(u64, Option<u64>)]) -> Recording {
    let service = service();
    let mut book = Book::new(&service);
    for (at, time) in all {
        book.request(*at, *time, 3).unwrap();
    }
    book.requests(Bad::default())
}

fn counts(all: &[(u64, u64, u32)], period: Option<u64>, functions: Vec<Spread>) -> Recording {
    let service = service();
    let mut book = Book::new(&service);
    for (at, count, function) in all {
        book.count(*at, *count, *function).unwrap();
    }
    book.counts(Bad::default(), period, functions)
}

fn play(recording: &Recording, scale: f64) -> Vec<Sent> {
    recording.play(scale, Prng::new(7)).collect()
}

#[test]
fn requests_come_in_order_from_zero_on_with_what_they_took() {
    let recording = requests(&[(70, Some(5)), (50, None), (60, Some(UNTIMED))]);
    let at = |at, need| Sent { at, need };
    assert_eq!(
        play(&recording, 1.0),
        [at(0, Need::Route(3)), at(10, Need::Time(UNTIMED - 1, 3)), at(20, Need::Time(5, 3)),]
    );
    assert_eq!((recording.requests(), recording.untimed(), recording.span()), (3, 1, 21));
}

#[test]
fn more_requests_fill_the_gaps_and_fewer_are_left_out_by_chance() {
    let recording = requests(&[(0, None), (100, None), (110, None)]);
    let at = |scale| play(&recording, scale).iter().map(|sent| sent.at).collect::<Vec<_>>();
    assert_eq!(at(2.0), [0, 50, 100, 105, 110, 110]);

    let many: Vec<_> = (0..20_000).map(|at| (at, None)).collect();
    let many = requests(&many);
    for (scale, expected) in [(0.25, 5_000), (1.5, 30_000)] {
        let count = play(&many, scale).len();
        assert!(count.abs_diff(expected) < 300, "{count} at {scale}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_recorded_is_played_in_order_and_whole(
        all in vec((any::<u64>(), proptest::option::of(any::<u64>())), 0..200),
        scale in 1_u8..4,
    ) {
        let played = play(&requests(&all), f64::from(scale));
        prop_assert!(played.is_sorted_by_key(|sent| sent.at));
        prop_assert_eq!(played.len(), all.len() * usize::from(scale));
    }

    #[test]
    fn periods_come_in_order_and_each_with_its_count(
        all in vec((0_u64..50, 0_u64..50, 0_u32..4), 0..50),
        period in 1_u64..100,
    ) {
        let spread = || Spread::fixed(Duration::from_millis(5));
        let played = play(&counts(&all, Some(period), vec![spread(), spread()]), 1.0);
        prop_assert!(played.is_sorted_by_key(|sent| sent.at));
        let count: u64 = all.iter().map(|(_, count, _)| count).sum();
        prop_assert_eq!(played.len() as u64, count);
    }
}

#[test]
fn period_is_the_longest_that_fits_between_all() {
    let five = 5 * MINUTE;
    let sparse = counts(&[(0, 1, 0), (3 * five, 1, 0), (5 * five, 1, 0)], None, Vec::new());
    assert_eq!(sparse.span(), 6 * five);
    let told = counts(&[(0, 1, 0), (five, 1, 0)], Some(MINUTE), Vec::new());
    assert_eq!(told.span(), 6 * MINUTE);
    assert_eq!(counts(&[(7, 1, 0)], None, Vec::new()).span(), MINUTE);
}

#[test]
fn functions_are_drawn_by_their_counts_and_take_their_own_times() {
    let ms = |ms| Spread::fixed(Duration::from_millis(ms));
    let all = [(0, 6_000, 0), (0, 3_000, 1), (0, 1_000, UNKNOWN)];
    let played = play(&counts(&all, None, vec![ms(1), ms(2)]), 1.0);
    let count = |need| played.iter().filter(|sent| sent.need == need).count();
    assert!(count(Need::Time(1_000_000, 0)).abs_diff(6_000) < 200);
    assert!(count(Need::Time(2_000_000, 0)).abs_diff(3_000) < 200);
    assert!(count(Need::Any).abs_diff(1_000) < 150);
}
