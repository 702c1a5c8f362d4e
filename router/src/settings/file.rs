//! The settings file: TOML, with a section for each group of settings, `[pools.NAME]` for each pool
//! beside `default`, and a `[[route]]` for each route.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::SettingsError;
use super::layers::{Layers, Origin, Scope, Weight};
use super::table::SETTINGS;

impl Layers {
    /// Adds the settings file, `bytes` read from `file`.
    pub(super) fn add_file(&mut self, file: &str, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.add_text(file, text),
            Err(error) => {
                let (is_text, _) = bytes.split_at(error.valid_up_to());
                let is_text = String::from_utf8_lossy(is_text);
                let (line, column) = Lines::of(&is_text).position(is_text.len());
                let (file, message) = (file.to_owned(), NOT_UTF_8.to_owned());
                self.errors.push(SettingsError::FileSyntax { file, line, column, message });
            }
        }
    }

    fn add_text(&mut self, file: &str, text: &str) {
        let lines = Lines::of(text);
        let place = |offset| {
            let (line, column) = lines.position(offset);
            Origin::File { file: file.to_owned(), line, column }
        };
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let (line, column) = lines.position(error.span().map_or(0, |span| span.start));
                let (file, message) = (file.to_owned(), error.message().to_owned());
                self.errors.push(SettingsError::FileSyntax { file, line, column, message });
                return;
            }
        };
        let mut entries = Vec::new();
        for (key, value) in table.get_ref() {
            match (&**key.get_ref(), value.get_ref()) {
                (POOLS, DeValue::Table(pools)) => {
                    for (name, value) in pools {
                        let origin = place(name.span().start);
                        let DeValue::Table(section) = value.get_ref() else {
                            self.unknown(
                                origin,
                                &Scope::Router,
                                &format!("pools.{}", name.get_ref()),
                            );
                            continue;
                        };
                        let pool = name.get_ref().to_string();
                        self.pools.insert(pool.clone(), origin);
                        entries.extend(in_scope(&Scope::Pool(pool), section));
                    }
                }
                (ROUTES, DeValue::Array(routes)) => {
                    for route in routes {
                        let scope = Scope::Route(self.routes.len());
                        self.routes.push((place(route.span().start), Vec::new()));
                        let DeValue::Table(section) = route.get_ref() else {
                            self.unknown(place(route.span().start), &Scope::Router, ROUTES);
                            continue;
                        };
                        entries.extend(in_scope(&scope, section));
                    }
                }
                (name, DeValue::Table(section)) if !section.is_empty() || is_section(name) => {
                    entries.extend(section.iter().map(|(inner, value)| Entry {
                        offset: inner.span().start,
                        scope: Scope::Router,
                        key: format!("{name}.{}", inner.get_ref()),
                        value,
                    }));
                }
                (name, _) => entries.push(Entry {
                    offset: key.span().start,
                    scope: Scope::Router,
                    key: name.to_owned(),
                    value,
                }),
            }
        }
        // Faults are reported in the order of the lines.
        entries.sort_by_key(|entry| entry.offset);
        for entry in entries {
            self.add_entry(place(entry.offset), &entry, &place);
        }
    }

    fn add_entry(&mut self, origin: Origin, entry: &Entry<'_>, place: &impl Fn(usize) -> Origin) {
        let Entry { scope, key, value, .. } = entry;
        match (scope, value.get_ref()) {
            (Scope::Route(route), DeValue::Table(weights)) if key == POOLS => {
                let weights = weights.iter().map(|(pool, weight)| Weight {
                    pool: pool.get_ref().to_string(),
                    text: scalar(weight.get_ref()).unwrap_or_default(),
                    origin: place(pool.span().start),
                });
                if let Some((_, all)) = self.routes.get_mut(*route) {
                    all.extend(weights);
                }
            }
            (_, value) => match (scalar(value), scope.find(key)) {
                (Some(text), _) => self.set(scope, key, text, origin),
                (None, None) => self.unknown(origin, scope, key),
                (None, Some(_)) => self.errors.push(SettingsError::BadValue {
                    name: scope.name(key),
                    value: value.type_str().to_owned(),
                    origin,
                    allowed: "a string, a number, true or false".to_owned(),
                }),
            },
        }
    }
}

/// One line of the file.
struct Entry<'a> {
    offset: usize,
    scope: Scope,
    key: String,
    value: &'a Spanned<DeValue<'a>>,
}

/// What stands in the section of a pool or a route; `timeouts` is a section inside it.
fn in_scope<'a>(scope: &Scope, section: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    for (key, value) in section {
        let entry = |key: &Spanned<_>, name, value| Entry {
            offset: Spanned::span(key).start,
            scope: scope.clone(),
            key: name,
            value,
        };
        match value.get_ref() {
            DeValue::Table(inner) if key.get_ref() == "timeouts" => {
                entries.extend(inner.iter().map(|(inner, value)| {
                    entry(inner, format!("timeouts.{}", inner.get_ref()), value)
                }));
            }
            DeValue::Table(_)
            | DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => entries.push(entry(key, key.get_ref().to_string(), value)),
        }
    }
    entries
}

fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|s| s.name.split_once('.').is_some_and(|(section, _)| section == name))
}

const NOT_UTF_8: &str = "this is no UTF-8, which TOML is in; save the file in that encoding";

/// Where the lines of a text begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        Self { text, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// Line and column, from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|before| self.starts.get(before)).copied();
        let before = self.text.get(start.unwrap_or(0)..offset).unwrap_or_default();
        (line, 1 + before.chars().count())
    }
}

/// The text of a value that is not a list, a table or a date.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

const POOLS: &str = "pools";
const ROUTES: &str = "route";
