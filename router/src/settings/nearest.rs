//! "Did you mean": the known name that a mistyped one is closest to.

use super::value::folded;

/// The name among `known` that differs from `typed` by few keystrokes, if any does. Case and
/// separators do not count.
pub(crate) fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = folded(typed);
    let most = (typed.len() / 3).clamp(1, 4);
    known
        .map(|name| (distance(&typed, &folded(name)), name))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Keystrokes between two words: insert, delete, replace, swap neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_recognised() {
        let known = ["pool.slots", "pool.linger", "timeouts.queue"];
        for (typed, meant) in [
            ("pool.slot", Some("pool.slots")),
            ("pool.sltos", Some("pool.slots")),
            ("POOL_LINGERS", Some("pool.linger")),
            ("timeout.queue", Some("timeouts.queue")),
            ("something.else", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known.iter().copied()), meant, "{typed}");
        }
    }
}
