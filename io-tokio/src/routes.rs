//! Which pool serves a request: a finite table from configuration. Nothing that a client says can
//! add to it, and what no route knows is answered here, with nothing created.
//!
//! A route has up to three conditions, and serves the requests that meet them all:
//!
//! | condition | met by |
//! |---|---|
//! | host | `shop.example.com`: that host on any port; `*.example.com`: every host below it |
//! | path | `/api`: `/api` itself and all under it (`/api/x`), but not `/apix` |
//! | alias | `blue`: requests that ask for it by the alias header, and no others |
//!
//! Of several the most specific one serves: first by host (a full name, else the longest `*.`, else
//! any), then by path (the longest). An alias needs no order, since a request that names one is
//! never for a route without it, and the other way round.
//!
//! Hosts and aliases are compared without regard to case, paths byte by byte as they were sent:
//! what a client has encoded is for the app to decode.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use http::header::HeaderName;
use http::{HeaderMap, StatusCode};

/// What a request must be for a route to serve it. Nothing set: every request without an alias.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Conditions {
    /// The host it is for.
    pub host: Option<HostPattern>,
    /// How its path begins.
    pub path: Option<PathPrefix>,
    /// What it names in the alias header.
    pub alias: Option<Alias>,
}

/// A host by its name, or all hosts below a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Every host whose name ends so; begins with a dot.
    Below(String),
    /// This host.
    Exactly(String),
}

/// Whole segments at the beginning of a path: `/api/v1`. Never ends with a slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPrefix(String);

/// A word that stands for a function: a client may choose among them, never name a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Alias(String);

/// Why a text is no condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCondition {
    /// Not an [`Alias`].
    #[error("an alias has 1 to 64 letters, digits, `-`, `_` or `.`")]
    Alias,
    /// Not a [`HostPattern`].
    #[error("a host such as shop.example.com, or *.example.com for all below it, without a port")]
    Host,
    /// Not a [`PathPrefix`].
    #[error("a path such as /api, which all below it belongs to, without `*` and query")]
    Path,
}

/// A table of routes, each to a `T`.
#[derive(Clone, Debug)]
pub struct Routes<T> {
    /// The most specific first.
    routes: Vec<(Conditions, T)>,
    aliases: Option<AliasHeader>,
}

/// Where clients name an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasHeader {
    /// The header. It never reaches an app.
    pub name: HeaderName,
    /// Whether everybody may name one, not only proxies that are trusted. From others it is dropped
    /// unread.
    pub from_anyone: bool,
}

/// Why no route serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No route is for its host: 421.
    Host,
    /// No route for its host is for its path, or has the alias that it names: 404.
    Path,
}

impl NoRoute {
    /// What to answer with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Path => StatusCode::NOT_FOUND,
        }
    }

    /// What to say to the client.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Host => "this host is not served here",
            Self::Path => "not found",
        }
    }

    /// One word for the log and the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "unknown_host",
            Self::Path => "unknown_path",
        }
    }
}

impl<T> Routes<T> {
    /// A table of `routes`, in which `aliases` are looked up if there is where to name one.
    #[must_use]
    pub fn new(mut routes: Vec<(Conditions, T)>, aliases: Option<AliasHeader>) -> Self {
        // Stable, so that those that are equally specific stay in the operator's order.
        routes.sort_by_key(|(conditions, _)| std::cmp::Reverse(conditions.weight()));
        Self { routes, aliases }
    }

    /// One route for everything.
    #[must_use]
    pub fn all_to(to: T) -> Self {
        Self::new(vec![(Conditions::default(), to)], None)
    }

    /// Where clients name an alias, if anywhere.
    #[must_use]
    pub const fn aliases(&self) -> Option<&AliasHeader> {
        self.aliases.as_ref()
    }

    /// The routes, the most specific first.
    pub fn iter(&self) -> impl Iterator<Item = (&Conditions, &T)> {
        self.routes.iter().map(|(conditions, to)| (conditions, to))
    }

    /// The same routes to something else.
    #[must_use]
    pub fn map<U>(&self, mut to: impl FnMut(&T) -> U) -> Routes<U> {
        let routes = self.routes.iter().map(|(conditions, it)| (conditions.clone(), to(it)));
        Routes { routes: routes.collect(), aliases: self.aliases.clone() }
    }

    /// The route of a request for `host` (with or without a port) and `path` (without the query).
    /// `is_trusted` says whether `headers` come from a proxy that is.
    ///
    /// # Errors
    ///
    /// No route serves it.
    pub fn find(
        &self,
        host: &str,
        path: &str,
        headers: &HeaderMap,
        is_trusted: bool,
    ) -> Result<&T, NoRoute> {
        let host = host_name(host);
        let aliases = self.aliases.as_ref().filter(|it| it.from_anyone || is_trusted);
        let alias = aliases.and_then(|aliases| named(headers, &aliases.name));
        let mut refused = NoRoute::Host;
        for (conditions, to) in &self.routes {
            if !conditions.host.as_ref().is_none_or(|pattern| pattern.matches(host)) {
                continue;
            }
            refused = NoRoute::Path;
            let same_alias = match (&conditions.alias, alias) {
                (None, None) => true,
                (Some(Alias(alias)), Some(named)) => named.eq_ignore_ascii_case(alias.as_bytes()),
                (Some(_), None) | (None, Some(_)) => false,
            };
            if same_alias && conditions.path.as_ref().is_none_or(|prefix| prefix.matches(path)) {
                return Ok(to);
            }
        }
        Err(refused)
    }
}

impl Conditions {
    /// How specific they are: kind of host, its length, length of the path.
    fn weight(&self) -> (u8, usize, usize) {
        let (kind, length) = match &self.host {
            None => (0, 0),
            Some(HostPattern::Below(end)) => (1, end.len()),
            Some(HostPattern::Exactly(_)) => (2, 0),
        };
        (kind, length, self.path.as_ref().map_or(0, |path| path.0.len()))
    }
}

/// `host shop.example.com path /api`, or `everything`.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        said.extend(self.host.as_ref().map(|host| format!("host {host}")));
        said.extend(self.path.as_ref().map(|path| format!("path {path}")));
        said.extend(self.alias.as_ref().map(|alias| format!("alias {alias}")));
        f.write_str(if said.is_empty() { "everything" } else { "" })?;
        f.write_str(&said.join(" "))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(end) => write!(f, "*{end}"),
            Self::Exactly(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exactly(name) => host.eq_ignore_ascii_case(name),
            Self::Below(end) => {
                // A name of bytes before 128 can be cut anywhere; what has others is no host.
                host.len() > end.len()
                    && host
                        .get(host.len() - end.len()..)
                        .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
            }
        }
    }
}

impl FromStr for HostPattern {
    type Err = BadCondition;

    fn from_str(text: &str) -> Result<Self, BadCondition> {
        let text = text.to_ascii_lowercase();
        if let Some(address) = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            return match address.parse::<Ipv6Addr>() {
                Ok(_) => Ok(Self::Exactly(text)),
                Err(_) => Err(BadCondition::Host),
            };
        }
        let name = text.strip_prefix("*.").unwrap_or(&text);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(BadCondition::Host);
        }
        Ok(match text.strip_prefix('*') {
            Some(end) => Self::Below(end.to_owned()),
            None => Self::Exactly(text),
        })
    }
}

impl PathPrefix {
    fn matches(&self, path: &str) -> bool {
        path.strip_prefix(&self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Reads a prefix; `/`, which every path has, is none.
    ///
    /// # Errors
    ///
    /// It is not a path that a client could send, or it has a `*`, which would stand for itself and
    /// be meant to stand for more.
    pub fn parse(text: &str) -> Result<Option<Self>, BadCondition> {
        let legal = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'*');
        if !text.starts_with('/') || !text.bytes().all(legal) {
            return Err(BadCondition::Path);
        }
        let prefix = text.trim_end_matches('/');
        Ok((!prefix.is_empty()).then(|| Self(prefix.to_owned())))
    }
}

impl FromStr for Alias {
    type Err = BadCondition;

    fn from_str(text: &str) -> Result<Self, BadCondition> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !(1..=64).contains(&text.len()) || !text.bytes().all(legal) {
            return Err(BadCondition::Alias);
        }
        Ok(Self(text.to_owned()))
    }
}

/// The host of an authority: no port, and no dot at its end, which means the same.
fn host_name(authority: &str) -> &str {
    let host = match authority.rfind(']') {
        Some(end) => authority.get(..=end).unwrap_or(authority),
        None => authority.split(':').next().unwrap_or(authority),
    };
    host.strip_suffix('.').unwrap_or(host)
}

/// What the alias header says, if it is there. Twice is a word that no route has.
fn named<'h>(headers: &'h HeaderMap, header: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(header).iter();
    let value = values.next()?;
    Some(if values.next().is_some() { b"" } else { value.as_bytes() })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn conditions(host: &str, path: &str, alias: &str) -> Conditions {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Conditions {
            host: given(host).map(|host| host.parse().unwrap()),
            path: given(path).and_then(|path| PathPrefix::parse(&path).unwrap()),
            alias: given(alias).map(|alias| alias.parse().unwrap()),
        }
    }

    fn table(routes: &[(&str, &str, &str, &'static str)]) -> Routes<&'static str> {
        let routes =
            routes.iter().map(|(host, path, alias, to)| (conditions(host, path, alias), *to));
        let name = HeaderName::from_static("x-lambda-name");
        Routes::new(routes.collect(), Some(AliasHeader { name, from_anyone: false }))
    }

    /// A look-up of somebody who names no alias.
    fn plain<'t>(
        table: &'t Routes<&'static str>,
        host: &str,
        path: &str,
    ) -> Result<&'t &'static str, NoRoute> {
        table.find(host, path, &HeaderMap::new(), true)
    }

    fn names(aliases: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for alias in aliases {
            headers.append("x-lambda-name", HeaderValue::from_static(alias));
        }
        headers
    }

    #[test]
    fn most_specific_route_serves_whatever_the_order() {
        let mut routes = [
            ("", "", "", "rest"),
            ("", "/api", "", "api anywhere"),
            ("*.example.com", "", "", "below"),
            ("*.b.example.com", "", "", "further below"),
            ("*.example.com", "/api", "", "api below"),
            ("a.example.com", "", "", "a"),
            ("a.example.com", "/api", "", "api of a"),
            ("a.example.com", "/api/v2", "", "second api of a"),
        ];
        for _ in 0..routes.len() {
            routes.rotate_left(1);
            let table = table(&routes);
            for (host, path, to) in [
                ("a.example.com", "/", "a"),
                ("A.Example.Com:8080", "/", "a"),
                ("a.example.com.", "/apix", "a"),
                ("a.example.com", "/api", "api of a"),
                ("a.example.com", "/api/", "api of a"),
                ("a.example.com", "/api/v22", "api of a"),
                ("a.example.com", "/api/v2/x", "second api of a"),
                ("a.example.com", "/API", "a"),
                ("a.example.com", "/%61pi", "a"),
                ("a.example.com", "//api", "a"),
                ("a.example.com", "*", "a"),
                ("x.example.com", "/api/x", "api below"),
                ("x.y.example.com", "/", "below"),
                ("x.b.example.com", "/api", "further below"),
                ("example.com", "/api", "api anywhere"),
                ("badexample.com", "/", "rest"),
                (".example.com", "/", "rest"),
                ("[::1]:80", "/", "rest"),
                ("", "/", "rest"),
            ] {
                assert_eq!(plain(&table, host, path), Ok(&to), "{host} {path}");
            }
        }
    }

    #[test]
    fn unknown_host_is_told_from_unknown_path() {
        let table = table(&[
            ("a.example.com", "/api", "", "api"),
            ("[::1]", "", "", "local"),
            ("*.example.org", "", "blue", "blue"),
        ]);
        for (host, path, refused) in [
            ("b.example.com", "/api", NoRoute::Host),
            ("", "/api", NoRoute::Host),
            ("ünïcode.example", "/api", NoRoute::Host),
            ("a.example.com", "/", NoRoute::Path),
            ("a.example.org", "/", NoRoute::Path),
        ] {
            assert_eq!(plain(&table, host, path), Err(refused), "{host} {path}");
        }
        assert_eq!(plain(&table, "[::1]:5001", "/"), Ok(&"local"));
        assert_eq!((NoRoute::Host.status().as_u16(), NoRoute::Path.status().as_u16()), (421, 404));
    }

    #[test]
    fn alias_is_looked_up_and_an_unknown_one_is_nobodys() {
        let table = table(&[
            ("", "", "", "rest"),
            ("", "", "blue", "blue"),
            ("", "/api", "blue", "blue api"),
            ("a.example.com", "", "green", "green of a"),
        ]);
        let find = |host, path, aliases| table.find(host, path, &names(aliases), true).copied();
        assert_eq!(find("b", "/", &[]), Ok("rest"));
        assert_eq!(find("b", "/", &["blue"]), Ok("blue"));
        assert_eq!(find("b", "/", &["BLUE"]), Ok("blue"));
        assert_eq!(find("b", "/api", &["blue"]), Ok("blue api"));
        assert_eq!(find("a.example.com", "/", &["green"]), Ok("green of a"));
        for unknown in [&["green"][..], &["red"], &[""], &["blue", "blue"], &["arn:aws:lambda"]] {
            assert_eq!(find("b", "/", unknown), Err(NoRoute::Path), "{unknown:?}");
        }
        let stranger = table.find("b", "/", &names(&["blue"]), false);
        assert_eq!(stranger, Ok(&"rest"), "who may not name one is served as if there were none");
        let mut open = table.clone();
        open.aliases.as_mut().unwrap().from_anyone = true;
        assert_eq!(open.find("b", "/", &names(&["blue"]), false), Ok(&"blue"));
    }

    #[test]
    fn what_no_client_could_send_or_nobody_could_mean_is_no_condition() {
        for host in ["", "*", "*.", "a..b", "a:80", "a b", "*.*.a", "[::1", "[x]", "a/b", "ü.de"] {
            assert_eq!(host.parse::<HostPattern>(), Err(BadCondition::Host), "{host}");
        }
        for path in ["", "api", "/a b", "/a?b", "/a#b", "/ü", "/*", "/a/*"] {
            assert_eq!(PathPrefix::parse(path), Err(BadCondition::Path), "{path}");
        }
        assert_eq!(PathPrefix::parse("/"), Ok(None));
        assert_eq!(PathPrefix::parse("/a/"), PathPrefix::parse("/a"));
        for alias in ["", "a b", "a:b", "a/b", &"a".repeat(65)] {
            assert_eq!(alias.parse::<Alias>(), Err(BadCondition::Alias), "{alias}");
        }
        let all = conditions("*.example.com", "/a/", "blue");
        assert_eq!(all.to_string(), "host *.example.com path /a alias blue");
        assert_eq!(Conditions::default().to_string(), "everything");
    }
}
