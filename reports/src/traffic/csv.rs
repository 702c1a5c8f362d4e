//! A table with a header: `arrival`, and optionally `service` and `route`, in any order and among
//! other columns.

use super::lines::{Wrong, fields};
use super::moment;
use super::recorded::Book;

pub(super) const SHAPE: &str = "a line has as many columns as the header, which are separated by \
     commas; `arrival` is a moment in ISO 8601, or a number of seconds, or of milliseconds since \
     1970; `service` is empty, a number of seconds, or a span such as 40ms; `route` is a path, \
     such as `2026-11-25T06:13:44.316Z,0.048,/cart`";

/// Which columns are where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    arrival: usize,
    service: Option<usize>,
    route: Option<usize>,
}

/// Takes one line; the first says what the others hold.
pub(super) fn line(
    book: &mut Book<'_>,
    columns: &mut Option<Columns>,
    line: &[u8],
) -> Result<(), Wrong> {
    let Some(Columns { arrival, service, route }) = *columns else {
        *columns = Some(header(line)?);
        return Ok(());
    };
    let field = |index| fields(line, b',').nth(index).map(<[u8]>::trim_ascii);
    let at = field(arrival).ok_or("it has no column `arrival`")?;
    let at = moment::any(at).ok_or("`arrival` is no moment")?;
    let time = match service.and_then(field) {
        None | Some(b"") => None,
        Some(time) => Some(moment::span(time).ok_or("`service` is no time")?),
    };
    let route = route.and_then(field).map_or(0, |path| book.service.route_of(path));
    book.request(at, time, route)
}

fn header(line: &[u8]) -> Result<Columns, Wrong> {
    let column = |name: &str| {
        fields(line, b',')
            .position(|field| field.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    };
    let Some(arrival) = column("arrival") else {
        return Err(Wrong::File(format!(
            "the first line is `{}`; it must name the columns: `arrival`, and optionally `service` \
             and `route`",
            super::lines::shortened(line)
        )));
    };
    Ok(Columns { arrival, service: column("service"), route: column("route") })
}
