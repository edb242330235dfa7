//! Spot notices: the instance's metadata service says two minutes before that this machine will be taken back.
//!
//! Version 2 of the service, by the SDK's client, which keeps the session token and knows where the service is
//! (`AWS_EC2_METADATA_SERVICE_ENDPOINT` names another place).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use proofyard_aws::clients::sdk::metadata_client;
use proofyard_core::error::with_causes;
use tracing::warn;

/// AWS advises to poll every five seconds.
pub const POLL_EVERY: Duration = Duration::from_secs(5);
const PLACE: &str = "/latest/meta-data/spot/instance-action";
const NO_NOTICE: u16 = 404;

pub(crate) struct SpotNotice {
    client: Client,
    /// It was logged already that the service does not answer.
    logged: AtomicBool,
}

impl SpotNotice {
    pub fn new() -> Self {
        Self { client: metadata_client(), logged: AtomicBool::new(false) }
    }

    /// The notice for this machine, if there is one. There never is for a machine that is no spot instance, or has no such
    /// service.
    pub async fn poll(&self) -> Option<String> {
        match self.client.get(PLACE).await {
            Ok(notice) => Some(AsRef::<str>::as_ref(&notice).to_owned()),
            Err(ImdsError::ErrorResponse(answer)) if answer.response().status().as_u16() == NO_NOTICE => None,
            Err(error) => {
                if !self.logged.swap(true, Ordering::Relaxed) {
                    warn!(error = %with_causes(&error), "no spot notice is seen: the instance's metadata service does not answer");
                }
                None
            }
        }
    }
}
