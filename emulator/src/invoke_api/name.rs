//! The many ways to name a function in a path.

/// A function as a caller named it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FunctionName {
    /// The name and the qualifier as asked for, for the error message.
    pub(super) as_asked: String,
    pub(super) name: String,
    pub(super) qualifier: Option<String>,
}

impl FunctionName {
    /// Reads a path segment, still percent-encoded, and the query string: `name`, `name:qualifier`,
    /// `account:function:name[:qualifier]`, or a whole ARN; `Qualifier=` in the query.
    ///
    /// Any account, region and partition will do: there is one function.
    pub(super) fn parse(segment: &str, query: &str) -> Option<Self> {
        let decoded = percent_decode(segment)?;
        let parts: Vec<&str> = decoded.split(':').collect();
        let (name, qualifier) = match parts.as_slice() {
            ["arn", _, "lambda", _, _, "function", rest @ ..] | [_, "function", rest @ ..] => {
                match rest {
                    [name] => (*name, None),
                    [name, qualifier] => (*name, Some(*qualifier)),
                    _ => return None,
                }
            }
            [name] => (*name, None),
            [name, qualifier] => (*name, Some(*qualifier)),
            _ => return None,
        };
        let in_query = query.split('&').find_map(|pair| pair.strip_prefix("Qualifier="));
        let qualifier = match (qualifier.map(str::to_owned), in_query) {
            (None, Some(encoded)) => Some(percent_decode(encoded)?),
            // Two that differ are an error on AWS too.
            (Some(one), Some(encoded)) if one != percent_decode(encoded)? => return None,
            (qualifier, _) => qualifier,
        };
        let suffix = qualifier.as_ref().map(|qualifier| format!(":{qualifier}"));
        let as_asked = format!("{name}{}", suffix.unwrap_or_default());
        is_name(name).then(|| Self { as_asked, name: name.to_owned(), qualifier })
    }
}

/// Whether AWS would take `name` for a function's.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(segment: &str, query: &str) -> Option<(String, Option<String>)> {
        FunctionName::parse(segment, query).map(|found| (found.name, found.qualifier))
    }

    #[test]
    fn every_form_that_the_sdks_send_is_understood() {
        let plain = Some(("demo".to_owned(), None));
        let live = Some(("demo".to_owned(), Some("live".to_owned())));
        assert_eq!(parse("demo", ""), plain);
        assert_eq!(parse("demo:live", ""), live);
        assert_eq!(parse("demo", "Qualifier=live"), live);
        assert_eq!(parse("demo%3Alive", "Qualifier=live"), live);
        assert_eq!(parse("123456789012:function:demo", ""), plain);
        assert_eq!(
            parse("arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ademo", ""),
            plain
        );
        assert_eq!(parse("arn:aws-cn:lambda:cn-north-1:123456789012:function:demo:live", ""), live);
        let latest = Some(("demo".to_owned(), Some("$LATEST".to_owned())));
        assert_eq!(parse("demo", "Qualifier=%24LATEST"), latest);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for segment in ["", "a b", "demo%", "demo%zz", "demo%ff", "a:b:c", "demo/x", "%00"] {
            assert_eq!(parse(segment, ""), None, "{segment:?}");
        }
        assert_eq!(parse(&"x".repeat(65), ""), None);
        assert_eq!(parse("demo:one", "Qualifier=two"), None);
    }
}
