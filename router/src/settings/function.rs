//! The name of a Lambda function, in every form that the Lambda API takes.

use std::fmt;

/// A function as Lambda's `Invoke` takes it: `name`, `name:qualifier`, `account:function:name`, or
/// a full ARN of any partition, with or without a qualifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionName(String);

impl FunctionName {
    /// Checks `text`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let parts: Vec<&str> = text.split(':').collect();
        let (name, qualifier) = match *parts.as_slice() {
            ["arn", partition, service, region, account, kind, name, ref rest @ ..] => {
                check_arn(partition, service, region, account, kind)?;
                (name, rest)
            }
            [account, "function", name, ref rest @ ..] => {
                check_account(account)?;
                (name, rest)
            }
            [name, ref rest @ ..] => (name, rest),
            [] => ("", &[][..]),
        };
        check_name(name)?;
        match qualifier {
            [] => {}
            [qualifier] => check_qualifier(qualifier)?,
            _ => return Err("it has too many `:`"),
        }
        Ok(Self(text.to_owned()))
    }

    /// What to hand to `Invoke`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The function without the version or alias, if the name has one.
    #[must_use]
    pub fn unqualified(&self) -> &str {
        let all = self.0.split(':').count();
        // name, account:function:name, arn:partition:lambda:region:account:function:name
        match self.0.rsplit_once(':') {
            Some((unqualified, _)) if matches!(all, 2 | 4 | 8) => unqualified,
            Some(_) | None => &self.0,
        }
    }

    /// The region, if the name is a full ARN.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        let mut parts = self.0.split(':');
        (parts.next() == Some("arn")).then(|| parts.nth(2)).flatten()
    }
}

impl FunctionName {
    /// Its ARN in a policy; `*` for what the name does not say. `region` is where names without one
    /// are.
    #[must_use]
    pub fn arn(&self, region: Option<&str>) -> String {
        let name = &self.0;
        if name.starts_with("arn:") {
            return name.clone();
        }
        let is_of = |(begin, _): &&(&str, &str)| region.is_some_and(|it| it.starts_with(begin));
        let partition = PARTITIONS.iter().find(is_of).map_or("aws", |(_, partition)| partition);
        let region = region.unwrap_or("*");
        let (account, name) = name.split_once(":function:").unwrap_or(("*", name));
        format!("arn:{partition}:lambda:{region}:{account}:function:{name}")
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the regions of each partition but `aws` begin.
const PARTITIONS: &[(&str, &str)] = &[
    ("cn-", "aws-cn"),
    ("eu-isoe-", "aws-iso-e"),
    ("eusc-", "aws-eusc"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("us-isof-", "aws-iso-f"),
];

/// Whether a text could be the name of a region, of which there are new ones each year.
pub(super) fn is_region(text: &str) -> bool {
    !text.is_empty() && is_lower(text)
}

fn is_lower(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn check_arn(
    partition: &str,
    service: &str,
    region: &str,
    account: &str,
    kind: &str,
) -> Result<(), &'static str> {
    if !partition.starts_with("aws") || !is_lower(partition) {
        return Err("its partition is not aws, aws-cn, aws-us-gov or another aws-…");
    }
    if service != "lambda" || kind != "function" {
        return Err(
            "it is not an ARN of a Lambda function (arn:aws:lambda:REGION:ACCOUNT:function:NAME)",
        );
    }
    if !is_region(region) {
        return Err("its region is not one");
    }
    check_account(account)
}

fn check_account(account: &str) -> Result<(), &'static str> {
    if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) {
        Ok(())
    } else {
        Err("its account is not 12 digits")
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (1..=140).contains(&name.len()) && name.bytes().all(legal) {
        Ok(())
    } else {
        Err("a function's name has 1 to 140 letters, digits, `-` or `_`")
    }
}

fn check_qualifier(qualifier: &str) -> Result<(), &'static str> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let published = qualifier.strip_prefix('$').unwrap_or(qualifier);
    if qualifier == "$LATEST.PUBLISHED"
        || (1..=128).contains(&published.len()) && published.bytes().all(legal)
    {
        Ok(())
    } else {
        Err("a qualifier is a version number, an alias, $LATEST or $LATEST.PUBLISHED")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_and_partition_is_understood() {
        for (text, region) in [
            ("my-fn", None),
            ("my_fn:live", None),
            ("my-fn:$LATEST", None),
            ("my-fn:$LATEST.PUBLISHED", None),
            ("123456789012:function:my-fn:7", None),
            ("arn:aws:lambda:us-east-1:123456789012:function:my-fn", Some("us-east-1")),
            ("arn:aws-cn:lambda:cn-north-1:123456789012:function:f:live", Some("cn-north-1")),
            ("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f", Some("us-gov-west-1")),
            ("arn:aws-iso-b:lambda:us-isob-east-1:123456789012:function:f", Some("us-isob-east-1")),
            ("arn:aws-eusc:lambda:eusc-de-east-1:123456789012:function:f", Some("eusc-de-east-1")),
        ] {
            let function = FunctionName::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((function.as_str(), function.region()), (text, region));
        }
    }

    #[test]
    fn a_version_or_alias_can_be_left_out() {
        for (text, unqualified) in [
            ("f", "f"),
            ("f:live", "f"),
            ("f:$LATEST", "f"),
            ("f:$LATEST.PUBLISHED", "f"),
            ("123456789012:function:f", "123456789012:function:f"),
            ("123456789012:function:f:7", "123456789012:function:f"),
            (
                "arn:aws:lambda:eu-west-1:123456789012:function:f",
                "arn:aws:lambda:eu-west-1:123456789012:function:f",
            ),
            (
                "arn:aws:lambda:eu-west-1:123456789012:function:f:live",
                "arn:aws:lambda:eu-west-1:123456789012:function:f",
            ),
        ] {
            assert_eq!(FunctionName::parse(text).unwrap().unqualified(), unqualified);
        }
    }

    #[test]
    fn arn_says_what_the_name_does() {
        for (text, region, arn) in [
            ("f", None, "arn:aws:lambda:*:*:function:f"),
            ("f:live", Some("eu-west-1"), "arn:aws:lambda:eu-west-1:*:function:f:live"),
            ("f", Some("cn-north-1"), "arn:aws-cn:lambda:cn-north-1:*:function:f"),
            ("f", Some("eusc-de-east-1"), "arn:aws-eusc:lambda:eusc-de-east-1:*:function:f"),
            ("f", Some("us-iso-east-1"), "arn:aws-iso:lambda:us-iso-east-1:*:function:f"),
            ("f", Some("us-isob-east-1"), "arn:aws-iso-b:lambda:us-isob-east-1:*:function:f"),
            ("f", Some("eu-isoe-west-1"), "arn:aws-iso-e:lambda:eu-isoe-west-1:*:function:f"),
            ("f", Some("us-isof-east-1"), "arn:aws-iso-f:lambda:us-isof-east-1:*:function:f"),
            (
                "123456789012:function:f:7",
                Some("us-gov-west-1"),
                "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f:7",
            ),
            (
                "arn:aws:lambda:us-east-1:123456789012:function:f",
                Some("eu-west-1"),
                "arn:aws:lambda:us-east-1:123456789012:function:f",
            ),
        ] {
            assert_eq!(FunctionName::parse(text).unwrap().arn(region), arn);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "my fn",
            "fn/../x",
            "fn:",
            "fn:a:b",
            "fn:$LATEST.X",
            "fn:LATEST.PUBLISHED",
            "arn:aws:s3:::bucket",
            "arn:aws:lambda:us-east-1:12345:function:f",
            "arn:gcp:lambda:us-east-1:123456789012:function:f",
            "arn:aws:lambda::123456789012:function:f",
            "arn:aws:lambda:us-east-1:123456789012:layer:f",
            "f\n",
            "ünï",
        ] {
            assert!(FunctionName::parse(text).is_err(), "{text:?}");
        }
    }
}
