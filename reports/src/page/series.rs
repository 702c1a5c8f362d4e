//! How alternatives look in every picture: a letter for each, a colour and a marker for its kind,
//! and dashes of its own, so that no one needs to tell colours apart.

use maud::{Markup, html};

use super::chart::px;
use crate::report::{Kind, Measured};
use crate::words;

/// Patterns of dashes that the style sheet knows.
const DASHES: usize = 6;

/// The alternative's letter: A, B, .. Z, AA, AB, ..
pub(super) fn letter(index: usize) -> String {
    let one = char::from(b'A' + u8::try_from(index % 26).expect("less than 26"));
    match index / 26 {
        0 => one.to_string(),
        before => letter(before - 1) + &one.to_string(),
    }
}

/// Classes of the alternative's line: its kind's colour and its own dashes.
pub(super) fn line_class(index: usize, kind: Kind) -> String {
    format!("line k-{} d{}", words::kind_id(kind), index % DASHES)
}

/// The kind's marker around a point, `size` high and wide; `name` is shown where it is pointed at.
pub(super) fn marker(kind: Kind, at: (f64, f64), size: f64, name: Option<&str>) -> Markup {
    let half = px(size / 2.0);
    let shape = match kind {
        Kind::Dispatch => {
            format!("a{half} {half} 0 1 0 {0} 0a{half} {half} 0 1 0 -{0} 0Z", px(size))
        }
        Kind::Lambda => format!("v-{half}h{0}v{0}h-{0}Z", px(size)),
        Kind::LambdaReuse => format!("l{half} -{half}l{half} {half}l-{half} {half}Z"),
        Kind::Provisioned => format!("m0 {half}h{0}l-{half} -{0}Z", px(size)),
        Kind::Managed => format!("m0 -{half}h{0}l-{half} {0}Z", px(size)),
        Kind::Containers => {
            let third = px(size / 3.0);
            let back = px(size / 6.0);
            format!(
                "v-{back}h{third}v-{third}h{third}v{third}h{third}v{third}h-{third}v{third}\
                 h-{third}v-{third}h-{third}Z"
            )
        }
    };
    let path = format!("M{} {}{shape}", px(at.0 - size / 2.0), px(at.1));
    html! {
        path class=(format!("mark k-{}", words::kind_id(kind))) d=(path) {
            @if let Some(name) = name { title { (name) } }
        }
    }
}

/// Each alternative's letter, look and name.
pub(super) fn legend(alternatives: &[Measured]) -> Markup {
    html! {
        ul.legend {
            @for (index, measured) in alternatives.iter().enumerate() {
                li data-s=(index) {
                    (swatch(index, measured.kind))
                    b { (letter(index)) } " " (measured.name)
                    @if measured.is_best { " " (best()) }
                }
            }
        }
    }
}

/// A piece of the alternative's line.
pub(super) fn swatch(index: usize, kind: Kind) -> Markup {
    html! {
        svg.swatch viewBox="0 0 40 12" width="40" height="12" aria-hidden="true" {
            path class=(line_class(index, kind)) d="M1 6H39" {}
            (marker(kind, (20.0, 6.0), 9.0, None))
        }
    }
}

/// What the best alternative wears beside its name.
pub(super) fn best() -> Markup {
    html! { span.best { "★ best" } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_go_on_after_the_alphabet() {
        assert_eq!([0, 25, 26, 52].map(letter), ["A", "Z", "AA", "BA"]);
    }

    #[test]
    fn markers_of_all_kinds_differ() {
        let kinds = [
            Kind::Dispatch,
            Kind::Lambda,
            Kind::LambdaReuse,
            Kind::Provisioned,
            Kind::Managed,
            Kind::Containers,
        ];
        let shapes = kinds.map(|kind| {
            let drawn = marker(kind, (0.0, 0.0), 12.0, None).into_string();
            drawn.split(" d=").nth(1).map(str::to_owned)
        });
        let unique: std::collections::BTreeSet<_> = shapes.iter().collect();
        assert_eq!(unique.len(), kinds.len());
    }
}
