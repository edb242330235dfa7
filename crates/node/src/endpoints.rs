//! Where the nodes are: the pipeline's URLs, and those that the environment holds because they have a key in them.

use proofyard_core::error::{Code, Coded};
use proofyard_core::pipeline::NodeSource;
use url::Url;

/// The nodes' URLs, the preferred first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    pub rpc: Vec<Url>,
    pub ws: Vec<Url>,
}

#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("`{key}` names the variable {name}, and {place} has no such text")]
    NoVariable { key: &'static str, name: String, place: String },
    /// What it holds may be a secret, and is not shown.
    #[error("{place} holds no URL ({why}); write it as {example}")]
    NoUrl { place: String, why: url::ParseError, example: &'static str },
    #[error("{place} holds a URL of the scheme {scheme}; write it as {example}")]
    WrongScheme { place: String, scheme: String, example: &'static str },
}

impl Coded for EndpointError {
    fn code(&self) -> Code {
        match self {
            Self::NoVariable { .. } => Code::NoVariable,
            Self::NoUrl { .. } | Self::WrongScheme { .. } => Code::BadEndpoint,
        }
    }
}

const RPC: &str = "http://127.0.0.1:8545";
const WS: &str = "ws://127.0.0.1:8546";

impl Endpoints {
    /// As they are shown: those that are asked, then those that tell.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.rpc.iter().chain(&self.ws).map(shown)
    }

    /// Those that a pipeline names, with what the environment holds.
    pub fn of_environment(source: &NodeSource) -> Result<Self, EndpointError> {
        Self::of(source, "the environment here", |name| std::env::var(name).ok())
    }

    /// The same, where something else holds the variables.
    pub fn of(
        source: &NodeSource,
        holder: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, EndpointError> {
        let urls = |key: &'static str, written: &[String], from: &'static str, names: &[String], example| {
            let mut urls = Vec::new();
            for text in written {
                urls.push(parsed(&format!("`{key}`"), text, example)?);
            }
            for name in names {
                let text = variable(name).ok_or_else(|| EndpointError::NoVariable {
                    key: from,
                    name: name.clone(),
                    place: holder.to_owned(),
                })?;
                urls.push(parsed(&format!("the variable {name}"), &text, example)?);
            }
            Ok(urls)
        };
        Ok(Self {
            rpc: urls("rpc", &source.rpc, "rpc_from", &source.rpc_from, RPC)?,
            ws: urls("ws", &source.ws, "ws_from", &source.ws_from, WS)?,
        })
    }
}

fn parsed(place: &str, text: &str, example: &'static str) -> Result<Url, EndpointError> {
    let no_url = |why| EndpointError::NoUrl { place: place.to_owned(), why, example };
    let url = Url::parse(text.trim()).map_err(no_url)?;
    let plain = example.split(':').next().unwrap_or_default();
    let scheme = url.scheme();
    if scheme != plain && scheme.strip_suffix('s') != Some(plain) {
        let (place, scheme) = (place.to_owned(), scheme.to_owned());
        return Err(EndpointError::WrongScheme { place, scheme, example });
    }
    Ok(url)
}

/// Scheme, host and port: what is behind them may be a key.
pub(crate) fn shown(url: &Url) -> String {
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// A text that came from outside, without what in a URL may be a key: nodes and proxies repeat the path that they were asked by.
pub(crate) fn redacted(text: &str, url: &Url) -> String {
    const LEAST_KEY: usize = 6;
    let path = url.path().trim_matches('/');
    let queries = url.query_pairs().map(|(_, value)| value.into_owned());
    let mut secrets: Vec<String> =
        [path, url.query().unwrap_or_default(), url.password().unwrap_or_default()]
            .into_iter()
            .chain(path.split('/'))
            .map(str::to_owned)
            .chain(queries)
            .filter(|secret| secret.len() >= LEAST_KEY)
            .collect();
    secrets.extend(Some(url.username()).filter(|name| !name.is_empty()).map(str::to_owned));
    // The longest first, so that none leaves a part of itself.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_may_be_a_key_is_shown() {
        let url = Url::parse("https://user:hunter22@host.example:8443/v2/AbCdEf123456?key=QwErTy77").unwrap();
        assert_eq!(shown(&url), "https://host.example:8443");
        let said = "Cannot POST /v2/AbCdEf123456?key=QwErTy77 for user, hunter22; project AbCdEf123456 is unknown (QwErTy77)";
        let shown = redacted(said, &url);
        for secret in ["AbCdEf", "QwErTy", "hunter", "user"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let plain = Url::parse("http://127.0.0.1:8545").unwrap();
        assert_eq!(redacted("HTTP status 500: no", &plain), "HTTP status 500: no");
    }
}
