//! A line of the access log as its reader wants it: text with fields in it, as nginx writes them.
//!
//! `$remote_addr "$request" $status` is read once, at the start; a line is then made by going
//! through its parts. `${status}` ends a name where the text would go on with a letter, and `$$` is
//! a dollar sign. What is wrong with a template is an error of the settings.

use io_tokio::observe::Access;

use super::fields::{FIELDS, Field, Value};
use crate::settings::nearest;

/// The combined format, which every log tool reads.
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status \
    $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// What stands behind it in `text`.
const OURS: &str = " host=$host reason=$reason pool=$pool queue=$queue_time \
    first_byte=$first_byte_time total=$request_time in=$bytes_in instance=$instance \
    cold_exposed=$cold_exposed attempts=$attempts id=$request_id";

/// The form of a line of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object, with every field.
    Json,
    /// Text with fields in it.
    Template(Template),
}

impl AccessFormat {
    /// The form that `text` names, or the template that it is.
    ///
    /// # Errors
    ///
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        match text.to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::text()),
            "combined" => Template::parse(COMBINED).map(Self::Template),
            _ => Template::parse(text).map(Self::Template),
        }
    }

    /// The combined format with our own fields behind it.
    #[must_use]
    pub fn text() -> Self {
        let template = Template::parse(&[COMBINED, OURS].concat());
        Self::Template(template.expect("a test has read it"))
    }
}

/// A template, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Field { field: &'static Field, is_quoted: bool },
    Text(String),
}

/// Fields are told apart by their names.
impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Field { field, is_quoted },
                Self::Field { field: other, is_quoted: is_other_quoted },
            ) => field.name == other.name && is_quoted == is_other_quoted,
            (Self::Text(text), Self::Text(other)) => text == other,
            (Self::Field { .. }, Self::Text(_)) | (Self::Text(_), Self::Field { .. }) => false,
        }
    }
}

impl Eq for Part {}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is a character in it that would break a line or drive a terminal.
    #[error("{ALLOWED}; {0:?} cannot be in a line")]
    Control(char),
    /// No field is in it, so every line would be the same.
    #[error("{ALLOWED}; there is no field in it{}", Meant(*.meant, ""))]
    NoField {
        /// The form that it resembles.
        meant: Option<&'static str>,
    },
    /// A dollar sign without a name.
    #[error("{ALLOWED}; the $ before {before:?} names no field; $$ is a dollar sign")]
    NoName {
        /// What stands behind it.
        before: String,
    },
    /// A name that is none.
    #[error("{ALLOWED}; there is no field ${name}{}", Meant(*.meant, "$"))]
    UnknownField {
        /// The name that was used.
        name: String,
        /// The field that it resembles.
        meant: Option<&'static str>,
    },
}

const ALLOWED: &str =
    "json, text, combined, or a template such as '$remote_addr \"$request\" $status $request_time'";

/// The end of a message about a name that is not known.
struct Meant(Option<&'static str>, &'static str);

impl std::fmt::Display for Meant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self(Some(name), sign) => write!(f, "; did you mean {sign}{name}?"),
            Self(None, _) => {
                let names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
                write!(f, "; there are: {}", names.join(", "))
            }
        }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// It says something that cannot be said.
    pub fn parse(template: &str) -> Result<Self, TemplateError> {
        if let Some(control) = template.chars().find(|c| c.is_control() && *c != '\t') {
            return Err(TemplateError::Control(control));
        }
        let mut parts = Vec::new();
        let (mut text, mut is_quoted) = (String::new(), false);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                text.push('$');
                rest = after;
                continue;
            }
            let (name, after) = name(after)?;
            is_quoted ^= text.matches('"').count() % 2 == 1;
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Field { field: find(name)?, is_quoted });
            rest = after;
        }
        if parts.is_empty() {
            let forms = ["combined", "json", "text"];
            return Err(TemplateError::NoField { meant: nearest(template, forms.into_iter()) });
        }
        text.push_str(rest);
        text.push('\n');
        parts.push(Part::Text(text));
        Ok(Self(parts))
    }

    /// One exchange as one line, with its line break.
    pub(super) fn line(&self, access: &Access) -> String {
        let mut line = String::with_capacity(320);
        for part in &self.0 {
            match part {
                Part::Field { field, is_quoted } => {
                    let mut value = Value { line: &mut line, is_quoted: *is_quoted };
                    (field.write)(access, &mut value);
                }
                Part::Text(text) => line.push_str(text),
            }
        }
        line
    }
}

/// The name at the start of what stands behind a `$`, and what follows it.
fn name(text: &str) -> Result<(&str, &str), TemplateError> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let braced = text.strip_prefix('{').and_then(|inner| inner.split_once('}'));
    let (name, rest) =
        braced.unwrap_or_else(|| text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len())));
    if name.is_empty() {
        let before = text.chars().take(10).collect();
        return Err(TemplateError::NoName { before });
    }
    Ok((name, rest))
}

fn find(name: &str) -> Result<&'static Field, TemplateError> {
    FIELDS.iter().find(|field| field.name == name).ok_or_else(|| TemplateError::UnknownField {
        name: name.to_owned(),
        meant: nearest(name, FIELDS.iter().map(|field| field.name)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::line::tests::access;
    use super::*;

    fn line(template: &str) -> String {
        Template::parse(template).unwrap().line(&access())
    }

    fn wrong(template: &str) -> String {
        Template::parse(template).expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_template_of_nginx_is_understood() {
        assert_eq!(
            line("$remote_addr \"$request\" $status $request_time"),
            "192.0.2.7 \"GET /a%20b HTTP/1.1\" 200 0.061000\n"
        );
        assert_eq!(
            line("$msec|${status}s cost=$$$attempts 100%"),
            "1795422552.123|200s cost=$1 100%\n"
        );
    }

    #[test]
    fn every_field_can_be_said() {
        for field in FIELDS {
            let said = line(&format!("<${}>", field.name));
            assert!(said.len() > "<>\n".len(), "{}: {said}", field.name);
            assert!(!field.about.is_empty());
        }
        assert_eq!(line("$queue_time $handover_time $app_time"), "0.001500 0.000200 0.047000\n");
    }

    #[test]
    fn what_is_wrong_with_a_template_is_told_with_what_was_meant() {
        for (template, told) in [
            ("$remote_add", "there is no field $remote_add; did you mean $remote_addr?"),
            ("$status $nonsense", "there is no field $nonsense; there are: remote_addr,"),
            ("$http_cookie", "there is no field $http_cookie"),
            ("jsn", "there is no field in it; did you mean json?"),
            ("", "there is no field in it; there are:"),
            ("$status $", "the $ before \"\" names no field; $$ is a dollar sign"),
            ("$status ${}", "names no field"),
            ("$status ${status", "the $ before \"{status\" names no field"),
            ("$status\n$host", "'\\n' cannot be in a line"),
        ] {
            assert!(wrong(template).contains(told), "{template:?}: {}", wrong(template));
        }
    }

    #[test]
    fn a_value_between_quotes_keeps_its_blanks_and_one_without_does_not() {
        let access = Access { user_agent: Some("a b\" c".to_owned()), ..access() };
        let template = Template::parse("$http_user_agent \"$http_user_agent\"").unwrap();
        assert_eq!(template.line(&access), "a\\x20b\\x22\\x20c \"a b\\x22 c\"\n");
    }
}
