//! Access logs of an Application Load Balancer, one line a request.
//!
//! A request arrives when its `request_creation_time` says. What it needs of an instance is its
//! `target_processing_time`, from the last byte to the target until the first of its response.
//! `response_processing_time` is the load balancer's own and stays out. Where no target was
//! reached, as in an overload, the line says -1: such requests are a part of the traffic, and take
//! what the plan says of their route.
//!
//! What the load balancer answers by itself is no part of it, since no app is sent that: redirects,
//! fixed responses, what WAF refuses, and who is sent away to log in. Such lines are counted.
//!
//! Fields after the known ones are left alone, as AWS asks for.

use super::lines::{Wrong, fields};
use super::moment;
use super::recorded::Book;

pub(super) const SHAPE: &str = "an ALB's line begins with its type, the time of the response, and \
     the load balancer's name, holds the request in quotation marks as the 13th field and the time \
     of the request as the 22nd, such as `h2 2026-11-25T06:13:44.364000Z app/shop/50dc6c495c0c9188 \
     192.0.2.1:2817 10.0.0.1:80 0.000 0.048 0.000 200 200 34 366 \"GET https://shop.example:443/ \
     HTTP/2.0\" \"curl/8\" … 2026-11-25T06:13:44.316000Z …`";

/// Takes one line.
pub(super) fn line(book: &mut Book<'_>, line: &[u8]) -> Result<(), Wrong> {
    let mut fields = fields(line, b' ');
    let time = fields.nth(TARGET_TIME).ok_or("it has fewer than 7 fields")?;
    let request = fields.nth(REQUEST - TARGET_TIME - 1).ok_or("it has fewer than 13 fields")?;
    let created = fields.nth(CREATED - REQUEST - 1).ok_or("it has fewer than 22 fields")?;
    let at = moment::iso(created).ok_or("its 22nd field is no moment")?;
    let time = match time {
        b"-1" | b"-" => None,
        _ => Some(moment::seconds(time).ok_or("its 7th field is no number of seconds")?),
    };
    // Older lines end before it.
    let actions = fields.nth(ACTIONS - CREATED - 1).unwrap_or_default();
    let last = actions.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    if time.is_none() && BY_ITSELF.contains(&last) {
        book.answered_before();
        return Ok(());
    }
    let route = book.service.route_of(path(request));
    book.request(at, time, route)
}

/// The path in `GET https://shop.example:443/cart?id=7 HTTP/1.1`.
fn path(request: &[u8]) -> &[u8] {
    let url = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let Some(scheme) = url.windows(3).position(|bytes| bytes == b"://") else { return url };
    let host = &url[scheme + 3..];
    host.iter().position(|byte| *byte == b'/').map_or(&[], |path| &host[path..])
}

/// Counted from 0.
const TARGET_TIME: usize = 6;
const REQUEST: usize = 12;
const CREATED: usize = 21;
const ACTIONS: usize = 22;
/// The last actions of those whose requests go no further than the load balancer.
const BY_ITSELF: [&[u8]; 4] = [b"authenticate", b"fixed-response", b"redirect", b"waf"];
