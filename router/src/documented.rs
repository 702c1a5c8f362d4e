//! Lists in the book that are made from lists in the code.

use std::sync::{Mutex, PoisonError};

/// Held by the test that looks at a page, since several may write to it.
static PAGE: Mutex<()> = Mutex::new(());

/// Compares the section of a page in `docs/src` that begins with a comment `<!-- NAME: … -->` and
/// ends with `<!-- end -->` with what it is to be; or, with `UPDATE` in the environment, writes it.
#[track_caller]
pub(crate) fn section(page: &str, name: &str, list: &str) {
    let _page = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = format!("{}/../docs/src/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap();
    let start = text.find(&format!("<!-- {name}: ")).expect("the page has the section");
    let begin = start + text[start..].find('\n').unwrap() + 1;
    let end = begin + text[begin..].find("<!-- end -->").expect("the section ends");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, [&text[..begin], list, &text[end..]].concat()).unwrap();
    } else {
        assert_eq!(&text[begin..end], list, "run it with UPDATE=1, and commit {file}");
    }
}
