//! Where the nodes are: the pipeline's URLs, and those that the environment holds because they have a key in them.

use proofyard_core::error::{Code, Coded};
use proofyard_core::pipeline::NodeSource;
use url::Url;

/// The nodes' URLs, the preferred first.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    pub rpc: Vec<Url>,
    pub ws: Vec<Url>,
}

#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("`{key}` names the variable {name}, and the environment here has no such text")]
    NoVariable { key: &'static str, name: String },
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

    /// Those that a pipeline names, with what `variable` answers of the environment.
    pub fn of(source: &NodeSource, variable: impl Fn(&str) -> Option<String>) -> Result<Self, EndpointError> {
        let urls = |key: &'static str, written: &[String], from: &'static str, names: &[String], example| {
            let mut urls = Vec::new();
            for text in written {
                urls.push(parsed(&format!("`{key}`"), text, example)?);
            }
            for name in names {
                let text = variable(name)
                    .ok_or_else(|| EndpointError::NoVariable { key: from, name: name.clone() })?;
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
