//! The endpoint of a service behind the recording proxy, as a scheme and an authority. The service may be AWS's own or
//! any other.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};

/// The suffixes of AWS's endpoints, dual-stack names included, in all AWS partitions that can be reached over the
/// internet.
const AWS: [&str; 4] = [".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws"];

/// Where a service is: `http://HOST[:PORT]` or `https://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upstream {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

impl Upstream {
    /// A service that is reached by plain HTTP.
    pub(crate) fn http(authority: Authority) -> Self {
        Self { scheme: Scheme::HTTP, authority }
    }

    /// AWS's public endpoint of a service in a region, by AWS's endpoint rules: `https://SERVICE.REGION.amazonaws.com`.
    /// In China the suffix is `.amazonaws.com.cn`, and in the European Sovereign Cloud it is `.amazonaws.eu`. The
    /// result is `None` if `region` cannot be the name of a region.
    pub(crate) fn aws(service: &str, region: &str) -> Option<Self> {
        let suffix = match region.split_once('-') {
            Some(("cn", _)) => "amazonaws.com.cn",
            Some(("eusc", _)) => "amazonaws.eu",
            _ => "amazonaws.com",
        };
        let is_name = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && !region.is_empty();
        let authority = Authority::try_from(format!("{service}.{region}.{suffix}")).ok().filter(|_| is_name)?;
        Some(Self { scheme: Scheme::HTTPS, authority })
    }

    /// Whether this is AWS's own endpoint, and not that of a service that is used in its place.
    pub(crate) fn is_aws(&self) -> bool {
        let host = self.authority.host().to_ascii_lowercase();
        AWS.iter().any(|suffix| host.ends_with(suffix))
    }

    /// Whether the service is reached by HTTPS.
    pub(crate) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("`{text}` is not of the form http://HOST[:PORT] or https://HOST[:PORT]");
        let parts = Uri::from_str(text).map_err(|_| problem())?.into_parts();
        let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
        match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority))
                if (scheme == Scheme::HTTP || scheme == Scheme::HTTPS)
                    && path == "/"
                    && !authority.host().is_empty()
                    && !authority.as_str().contains('@') =>
            {
                Ok(Self { scheme, authority })
            }
            _ => Err(problem()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_scheme_and_an_authority() {
        for (text, shown) in [
            ("http://localhost:4566/", "http://localhost:4566"),
            ("https://minio.example", "https://minio.example"),
            ("https://[::1]:9000", "https://[::1]:9000"),
        ] {
            assert_eq!(text.parse::<Upstream>().map(|upstream| upstream.to_string()), Ok(shown.to_owned()));
        }
        for text in
            ["localhost:4566", "ftp://host", "http://", "http://host/path", "http://host?query", "https://me@host", ""]
        {
            let error = text.parse::<Upstream>().expect_err(text);
            assert!(error.contains(&format!("`{text}`")) && error.contains("https://HOST[:PORT]"), "{error}");
        }
    }

    #[test]
    fn aws_is_known_by_its_names() {
        for (region, shown) in [
            ("eu-central-1", "https://s3.eu-central-1.amazonaws.com"),
            ("us-gov-west-1", "https://s3.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "https://s3.eusc-de-east-1.amazonaws.eu"),
        ] {
            let upstream = Upstream::aws("s3", region).expect(region);
            assert_eq!((upstream.to_string().as_str(), upstream.is_aws(), upstream.is_https()), (shown, true, true));
        }
        for region in ["", "eu central", "x.evil.example/", "a@b"] {
            assert_eq!(Upstream::aws("s3", region), None, "{region}");
        }
        for url in ["http://localhost:8000", "https://amazonaws.com.example", "https://notamazonaws.com"] {
            assert!(!url.parse::<Upstream>().expect(url).is_aws(), "{url}");
        }
    }
}
