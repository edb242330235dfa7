//! Where a chain's nodes are: what the pipeline says, with what has a key in it from the yard's secret.

use std::collections::BTreeMap;

use proofyard_aws::AwsHome;
use proofyard_aws::clients::secrets::{Secret, SecretError};
use proofyard_core::error::{Code, Coded};
use proofyard_core::pipeline::NodeSource;
use proofyard_core::port::Port;
use proofyard_node::{EndpointError, Endpoints};

/// Why a chain's nodes cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum NodesError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// What it holds is not shown.
    #[error("secret {0} holds no JSON object of texts; write it as {{\"PROVIDER_URL\": \"https://...\"}}")]
    NoObject(String),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("no connection to nodes can be made")]
    NoClient(#[source] reqwest::Error),
}

impl Coded for NodesError {
    fn code(&self) -> Code {
        match self {
            Self::Secret(error) => error.code(),
            Self::NoObject(_) => Code::BadEndpoint,
            Self::Endpoint(error) => error.code(),
            Self::NoClient(_) => Code::ProcessFault,
        }
    }
}

/// The secret of a yard that holds what `rpc_from` and `ws_from` name. It is read where a pipeline names something, and again
/// once it is a minute old.
pub struct NodesOfYard {
    secret: Secret,
    id: String,
    has_environment: bool,
}

impl NodesOfYard {
    pub fn new(home: &AwsHome) -> Self {
        let id = home.names.nodes_secret();
        Self { secret: home.secret(id.clone()), id, has_environment: false }
    }

    /// In a process whose environment is its operator's, it counts before the secret.
    pub fn or_in_environment(self) -> Self {
        Self { has_environment: true, ..self }
    }

    pub async fn endpoints(&self, home: &AwsHome, source: &NodeSource) -> Result<Endpoints, NodesError> {
        let in_environment = |name: &str| std::env::var(name).ok().filter(|_| self.has_environment);
        let mut names = source.rpc_from.iter().chain(&source.ws_from);
        let variables = match names.any(|name| in_environment(name).is_none()) {
            true => self.variables(home.yard.port.now_ms()).await?,
            false => BTreeMap::new(),
        };
        let variable = |name: &str| in_environment(name).or_else(|| variables.get(name).cloned());
        Ok(Endpoints::of(source, &format!("the secret {}", self.id), variable)?)
    }

    async fn variables(&self, now_ms: u64) -> Result<BTreeMap<String, String>, NodesError> {
        let variables = self.secret.variables(now_ms).await?;
        variables.ok_or_else(|| NodesError::NoObject(self.id.clone()))
    }
}
