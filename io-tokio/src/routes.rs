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

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use http::header::HeaderName;
use http::{HeaderMap, StatusCode};
use rustc_hash::FxHashMap;

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
    index: Index,
    aliases: Option<AliasHeader>,
}

/// Where the routes of a request are in the table: it does not take longer the more there are.
#[derive(Clone, Debug, Default)]
struct Index {
    /// By the host's name in small letters, by what is below it with its dot, and the rest by "".
    hosts: FxHashMap<String, Paths>,
    /// The lengths of names that hosts are below, the longest first.
    ends: Vec<usize>,
}

/// The routes of a host, or of the hosts below one, by their paths.
#[derive(Clone, Debug, Default)]
struct Paths {
    routes: FxHashMap<String, Vec<usize>>,
    /// The lengths of prefixes, the longest first.
    lengths: Vec<usize>,
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
        let index = Index::of(routes.iter().map(|(conditions, _)| conditions));
        Self { routes, index, aliases }
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
        let (index, aliases) = (self.index.clone(), self.aliases.clone());
        Routes { routes: routes.collect(), index, aliases }
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
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        for paths in self.index.paths(&host) {
            refused = NoRoute::Path;
            for (conditions, to) in paths.routes(path).filter_map(|place| self.routes.get(place)) {
                let same_alias = match (&conditions.alias, alias) {
                    (None, None) => true,
                    (Some(Alias(alias)), Some(named)) => {
                        named.eq_ignore_ascii_case(alias.as_bytes())
                    }
                    (Some(_), None) | (None, Some(_)) => false,
                };
                if same_alias {
                    return Ok(to);
                }
            }
        }
        Err(refused)
    }
}

impl Index {
    /// Of a table, the most specific first.
    fn of<'c>(table: impl Iterator<Item = &'c Conditions>) -> Self {
        let mut index = Self::default();
        for (place, conditions) in table.enumerate() {
            let host = match &conditions.host {
                Some(HostPattern::Exactly(name)) => name.to_ascii_lowercase(),
                Some(HostPattern::Below(end)) => {
                    index.ends.push(end.len());
                    end.to_ascii_lowercase()
                }
                None => String::new(),
            };
            let path = conditions.path.as_ref().map_or("", |path| &path.0);
            let paths = index.hosts.entry(host).or_default();
            paths.lengths.push(path.len());
            paths.routes.entry(path.to_owned()).or_default().push(place);
        }
        // The order of the table: equal ones are neighbours.
        index.ends.dedup();
        index.hosts.values_mut().for_each(|paths| paths.lengths.dedup());
        index
    }

    /// The routes for a host in small letters: its own, then those of what it is below, the nearest
    /// first, then those for any.
    fn paths(&self, host: &str) -> impl Iterator<Item = &Paths> {
        let below = self.ends.iter().filter_map(|length| {
            let end = host.get(host.len().checked_sub(*length).filter(|start| *start > 0)?..)?;
            end.starts_with('.').then_some(end)
        });
        let own = (!host.is_empty() && !host.starts_with('.')).then_some(host);
        own.into_iter().chain(below).chain([""]).filter_map(|name| self.hosts.get(name))
    }
}

impl Paths {
    /// Where the routes are that `path` belongs to, the longest first.
    fn routes(&self, path: &str) -> impl Iterator<Item = usize> {
        let prefixes = self.lengths.iter().filter_map(|length| {
            let (prefix, rest) = path.split_at_checked(*length)?;
            let is_whole = prefix.is_empty() || rest.is_empty() || rest.starts_with('/');
            is_whole.then_some(prefix)
        });
        prefixes.filter_map(|prefix| self.routes.get(prefix)).flatten().copied()
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

    /// What [`Routes::find`] says must be what a look at each route in turn does.
    #[test]
    fn no_route_is_missed_and_none_is_found_that_is_not_for_the_request() {
        let hosts = ["", "a.b.c", "b.c", "xb.c", "*.b.c", "*.c", "*.a.b.c"];
        let paths = ["", "/x", "/x/y", "/x/y/z", "/xx", "//x", "/x//"];
        let mut all = Vec::new();
        for host in hosts {
            all.extend(paths.iter().map(|path| (host, *path, "")));
        }
        for skipped in 1..12 {
            let some = all.iter().enumerate().filter(|(place, _)| (place + 1) % skipped < 3);
            let some: Vec<_> = some.map(|(_, (host, path, _))| (*host, *path, "", "to")).collect();
            let table = table(&some);
            let met = |conditions: &Conditions, host: &str, path: &str| {
                let of_host = match &conditions.host {
                    Some(HostPattern::Exactly(name)) => host == name,
                    Some(HostPattern::Below(end)) => host.len() > end.len() && host.ends_with(end),
                    None => true,
                };
                let of_path = conditions.path.as_ref().is_none_or(|PathPrefix(prefix)| {
                    let rest = path.strip_prefix(prefix.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                });
                of_host && of_path
            };
            for host in ["a.b.c", "b.c", "xb.c", "d.b.c", "d.c", ".b.c", ".c", "c", "", "a.a.b.c"] {
                for path in ["/", "*", "", "/x", "/x/", "/x/y", "/x/yz", "/xx/x", "//x/x", "/x//y"]
                {
                    let first = table.routes.iter().find(|(it, _)| met(it, host, path));
                    let found = plain(&table, host, path).ok().map(std::ptr::from_ref);
                    let first = first.map(|(_, to)| std::ptr::from_ref(to));
                    assert_eq!(found, first, "{host:?} {path:?} in {some:?}");
                }
            }
        }
    }

    #[test]
    fn a_request_is_compared_with_the_routes_of_its_host_and_path_alone() {
        let names: Vec<_> = (0..5_000).map(|it| format!("h{it}.example.com")).collect();
        let to_host = names.iter().map(|host| (conditions(host, "", ""), ()));
        let table = Routes::new(to_host.collect(), None);
        let compared = |host| {
            let paths = table.index.paths(host);
            paths.map(|paths| paths.routes("/x").count()).sum::<usize>()
        };
        assert_eq!(compared("h77.example.com"), 1);
        assert_eq!(compared("other.example.com"), 0);

        let prefix = "/long".repeat(40);
        let names: Vec<_> = (0..5_000).map(|it| format!("{prefix}/{it}")).collect();
        let to_path = names.iter().map(|path| (conditions("", path, ""), ()));
        let table = Routes::new(to_path.collect(), None);
        let [paths] = table.index.paths("h").collect::<Vec<_>>()[..] else { panic!("one host") };
        assert!(paths.lengths.len() < 5, "one for each length: {:?}", paths.lengths);
        assert_eq!(paths.routes(&format!("{prefix}/77/x")).collect::<Vec<_>>().len(), 1);
        assert_eq!(paths.routes(&format!("{prefix}/nobody")).count(), 0);
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
