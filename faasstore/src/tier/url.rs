//! URLs of remote stores: read once, into what can only be right, and shown without what is secret.

use std::fmt;
use thiserror::Error;

/// Where a remote store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreUrl {
    /// `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`
    Redis(RedisUrl),
    /// `s3://BUCKET[/PREFIX][?region=REGION&endpoint=URL]`
    S3(S3Url),
}

/// A Redis server.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Name or address.
    pub host: String,
    /// Usually 6379.
    pub port: u16,
    /// Number of the database, usually 0.
    pub database: u16,
    /// Whom to log in as, if not as the default user.
    pub user: Option<String>,
    /// Never shown.
    pub password: Option<String>,
}

/// A bucket of an S3-compatible store. Its credentials come from the environment (`AWS_ACCESS_KEY_ID` and so on) or from
/// the machine that this runs on, never from the URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3Url {
    /// The bucket.
    pub bucket: String,
    /// What all keys begin with, without a slash at its end; empty for none.
    pub prefix: String,
    /// Its region; else that of the environment.
    pub region: Option<String>,
    /// The service's own URL, if it is not that of Amazon. One that begins with `http://` is not encrypted.
    pub endpoint: Option<String>,
}

/// Why a URL is refused. Nothing of it that could be secret is repeated.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the store {shown} cannot be used: {why}; {remedy}")]
pub struct StoreUrlError {
    shown: String,
    why: String,
    remedy: &'static str,
}

const FORMS: &str = "write redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or s3://BUCKET[/PREFIX][?region=REGION&endpoint=URL]";

impl StoreUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// A [`StoreUrlError`], which says what would be right.
    pub fn parse(text: &str) -> Result<Self, StoreUrlError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let parser = Parser { scheme, rest };
        match scheme {
            "redis" => parser.redis().map(Self::Redis),
            "s3" => parser.s3().map(Self::S3),
            "rediss" => {
                let remedy = "let a tunnel (stunnel, ssh) lead to the server, and name its local end with redis://";
                Err(parser.error("Redis over TLS is not built in", remedy))
            }
            "" => Err(parser.error("it has no scheme", FORMS)),
            other => {
                let why = format!("nothing is known of {other}:// stores");
                Err(parser.error(why, FORMS))
            }
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(url) => url.fmt(f),
            Self::S3(url) => url.fmt(f),
        }
    }
}

/// Without who logs in, and by what: it also tells which store it is.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            port,
            database,
            ..
        } = self;
        if host.contains(':') {
            write!(f, "redis://[{host}]:{port}/{database}")
        } else {
            write!(f, "redis://{host}:{port}/{database}")
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

impl fmt::Display for S3Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        let pairs = [("region", &self.region), ("endpoint", &self.endpoint)];
        let pairs = pairs
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_ref()?)));
        for (mark, (key, value)) in std::iter::once('?')
            .chain(std::iter::repeat('&'))
            .zip(pairs)
        {
            write!(f, "{mark}{key}={value}")?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Parser<'a> {
    scheme: &'a str,
    rest: &'a str,
}

impl Parser<'_> {
    fn error(&self, why: impl Into<String>, remedy: &'static str) -> StoreUrlError {
        // Before an @ there may be a password, behind a ? a key; and what has no scheme may be anything.
        let shown = if self.scheme.is_empty() {
            "without a scheme".to_owned()
        } else {
            let end = self.rest.find('?').unwrap_or(self.rest.len());
            let start = self.rest[..end].rfind('@').map_or(0, |at| at + 1);
            let scheme = self.scheme;
            format!("{scheme}://{}", &self.rest[start..end])
        };
        StoreUrlError {
            shown,
            why: why.into(),
            remedy,
        }
    }

    fn redis(&self) -> Result<RedisUrl, StoreUrlError> {
        if self.rest.contains(['?', '#']) {
            return Err(self.error("it takes no options behind ? or #", FORMS));
        }
        let (login, place) = match self.rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, self.rest),
        };
        let (user, password) = match login {
            None => (None, None),
            Some(login) => {
                let (user, password) = login.split_once(':').ok_or_else(|| {
                    self.error(
                        "it names a user without a password",
                        "write USER:PASSWORD@, or :PASSWORD@ for the default user",
                    )
                })?;
                let user = (!user.is_empty()).then(|| self.decode(user)).transpose()?;
                (user, Some(self.decode(password)?))
            }
        };
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let database = match database.trim_end_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| {
                self.error(
                    "its database is no number",
                    "write the number of a database behind the slash, as in redis://HOST:6379/0",
                )
            })?,
        };
        let (host, port) = self.host_and_port(authority)?;
        Ok(RedisUrl {
            host,
            port: port.unwrap_or(6379),
            database,
            user,
            password,
        })
    }

    fn host_and_port(&self, authority: &str) -> Result<(String, Option<u16>), StoreUrlError> {
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) = rest
                    .split_once(']')
                    .ok_or_else(|| self.error("its address has no closing bracket", FORMS))?;
                match behind.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if behind.is_empty() => (host, None),
                    None => return Err(self.error("something follows its address", FORMS)),
                }
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() {
            return Err(self.error("it names no host", FORMS));
        }
        let port = port.map(|port| match port.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(self.error("its port is no number from 1 to 65535", FORMS)),
        });
        Ok((host.to_owned(), port.transpose()?))
    }

    fn decode(&self, text: &str) -> Result<String, StoreUrlError> {
        let wrong = || {
            let remedy = "write % as %25, @ as %40, : as %3A and / as %2F";
            self.error(
                "its user or password is not written as URLs want it",
                remedy,
            )
        };
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((&byte, behind)) = rest.split_first() {
            rest = behind;
            if byte != b'%' {
                bytes.push(byte);
                continue;
            }
            let digits = behind
                .get(..2)
                .and_then(|digits| std::str::from_utf8(digits).ok());
            let digits =
                digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(value.ok_or_else(wrong)?);
            rest = &behind[2..];
        }
        String::from_utf8(bytes).map_err(|_| wrong())
    }

    fn s3(&self) -> Result<S3Url, StoreUrlError> {
        let (place, options) = self.rest.split_once('?').unwrap_or((self.rest, ""));
        if place.contains('@') {
            let remedy =
                "give keys by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment";
            return Err(self.error(
                "it has something before an @, where keys do not belong",
                remedy,
            ));
        }
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(allowed) {
            let remedy = "a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens";
            return Err(self.error("its bucket cannot be", remedy));
        }
        let prefix = prefix.trim_matches('/');
        let plain = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed)
        };
        if !prefix.is_empty() && !prefix.split('/').all(plain) {
            let remedy = "a prefix is made of letters, digits, dots, hyphens and underscores, with single slashes between";
            return Err(self.error("its prefix cannot be", remedy));
        }
        let mut url = S3Url {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            region: None,
            endpoint: None,
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let known = match key {
                "region" => &mut url.region,
                "endpoint" => &mut url.endpoint,
                _ => {
                    return Err(self.error(
                        "it has an option that is neither region nor endpoint",
                        FORMS,
                    ));
                }
            };
            if value.is_empty() || known.replace(value.to_owned()).is_some() {
                return Err(self.error(format!("its {key} is empty, or given twice"), FORMS));
            }
        }
        if let Some(endpoint) = &url.endpoint {
            let host = endpoint
                .strip_prefix("https://")
                .or_else(|| endpoint.strip_prefix("http://"));
            let host = host.map(|host| host.trim_end_matches('/'));
            if !host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '/'])) {
                let remedy = "write endpoint=https://HOST[:PORT], or http:// within a network that you trust";
                return Err(self.error("its endpoint is no URL of a host", remedy));
            }
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(text: &str) -> RedisUrl {
        match StoreUrl::parse(text) {
            Ok(StoreUrl::Redis(url)) => url,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn s3(text: &str) -> S3Url {
        match StoreUrl::parse(text) {
            Ok(StoreUrl::S3(url)) => url,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_is_left_out_of_a_redis_url_is_as_usual() {
        let url = redis("redis://store");
        assert_eq!(
            (url.host.as_str(), url.port, url.database),
            ("store", 6379, 0)
        );
        assert_eq!((url.user, url.password), (None, None));
        let url = redis("redis://[::1]:7000/3");
        assert_eq!(
            (url.host.as_str(), url.port, url.database),
            ("::1", 7000, 3)
        );
        assert_eq!(url.to_string(), "redis://[::1]:7000/3");
        let url = redis("redis://me:p%40ss%25@10.0.0.1:1/");
        assert_eq!(url.user.as_deref(), Some("me"));
        assert_eq!(url.password.as_deref(), Some("p@ss%"));
        let url = redis("redis://:only@h");
        assert_eq!((url.user, url.password.as_deref()), (None, Some("only")));
    }

    #[test]
    fn an_s3_url_is_taken_apart() {
        let url = s3("s3://bucket-1/some/prefix/?region=eu-west-1&endpoint=http://127.0.0.1:9000");
        assert_eq!(
            (url.bucket.as_str(), url.prefix.as_str()),
            ("bucket-1", "some/prefix")
        );
        assert_eq!(url.region.as_deref(), Some("eu-west-1"));
        assert_eq!(url.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        let shown = url.to_string();
        assert_eq!(s3(&shown), url);
        assert_eq!(s3("s3://abc").to_string(), "s3://abc");
    }

    #[test]
    fn no_secret_is_ever_shown() {
        let secret = "hunter2";
        let texts = [
            format!("redis://me:{secret}@h:1/0"),
            format!("redis://me:{secret}@h:0/0"),
            format!("redis://me:{secret}@h/x"),
            format!("redis://me:{secret}%zz@h"),
            format!("redis://me:{secret}@"),
            format!("redis://:{secret}@[::1"),
            format!("redis://{secret}@h"),
            format!("redis://me:{secret}@h?x=1"),
            format!("redis://h/0?password={secret}"),
            format!("rediss://:{secret}@h"),
            format!("s3://key:{secret}@bucket"),
            format!("s3://bucket?aws_secret_access_key={secret}"),
            format!("s3://bucket?endpoint=http://me:{secret}@h"),
            format!("http://me:{secret}@h"),
            format!("me:{secret}@h"),
            secret.to_owned(),
        ];
        for text in texts {
            let (shown, debugged) = match StoreUrl::parse(&text) {
                Ok(url) => (url.to_string(), format!("{url:?}")),
                Err(error) => (error.to_string(), format!("{error:?}")),
            };
            assert!(!shown.contains(secret), "{shown}");
            assert!(!debugged.contains(secret), "{debugged}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_what_would_be_right() {
        for (text, why, remedy) in [
            ("store:6379", "no scheme", "write redis://"),
            ("ftp://store", "ftp://", "write redis://"),
            ("rediss://h", "over TLS", "tunnel"),
            ("redis://", "no host", "HOST"),
            ("redis://:6379", "no host", "HOST"),
            ("redis://h:0", "port", "PORT"),
            ("redis://h:65536", "port", "PORT"),
            ("redis://h:", "port", "PORT"),
            ("redis://[::1", "closing bracket", "HOST"),
            ("redis://[::1]x", "follows its address", "HOST"),
            ("redis://h/zero", "database", "redis://HOST:6379/0"),
            ("redis://h/70000", "database", "redis://HOST:6379/0"),
            ("redis://me@h", "without a password", "USER:PASSWORD@"),
            ("redis://:%4@h", "not written as URLs", "%25"),
            ("redis://:%+1@h", "not written as URLs", "%25"),
            ("redis://:%ff@h", "not written as URLs", "%25"),
            ("redis://h?tls=1", "no options", "DATABASE"),
            ("s3://", "bucket", "3 to 63"),
            ("s3://Bucket", "bucket", "3 to 63"),
            ("s3://bucket/a//b", "prefix", "single slashes"),
            ("s3://bucket/../b", "prefix", "single slashes"),
            ("s3://bucket/a b", "prefix", "single slashes"),
            ("s3://bucket?acl=public", "option", "region"),
            ("s3://bucket?region=", "region is empty", "REGION"),
            ("s3://bucket?region=a&region=b", "given twice", "REGION"),
            (
                "s3://bucket?endpoint=minio:9000",
                "endpoint",
                "https://HOST",
            ),
            (
                "s3://bucket?endpoint=http://h/path",
                "endpoint",
                "https://HOST",
            ),
            ("s3://a:b@bucket", "before an @", "AWS_ACCESS_KEY_ID"),
        ] {
            let error = StoreUrl::parse(text).unwrap_err().to_string();
            assert!(
                error.contains(why) && error.contains(remedy),
                "{text}: {error}"
            );
        }
    }
}
