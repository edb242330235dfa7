//! The word that this machine is about to be taken back: two minutes before, at the instance's metadata service.
//!
//! Version 2 of the service, by the SDK's client, which keeps the session token and knows where the service is
//! (`AWS_EC2_METADATA_SERVICE_ENDPOINT` names another place).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use proofyard_aws::clients::sdk::metadata_config;
use tracing::warn;

/// AWS advises to look every five seconds.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);
const PLACE: &str = "/latest/meta-data/spot/instance-action";
const NOTHING_SAID: u16 = 404;

pub(crate) struct SpotNotice {
    client: Client,
    /// That the service does not answer was told already.
    told: AtomicBool,
}

impl SpotNotice {
    pub fn new() -> Self {
        let client = Client::builder()
            .configure(&metadata_config())
            .connect_timeout(Duration::from_secs(1))
            .read_timeout(Duration::from_secs(1))
            .max_attempts(1)
            .build();
        Self { client, told: AtomicBool::new(false) }
    }

    /// What is said of this machine's end, if anything is. A machine that is no spot instance is not spoken of, nor is
    /// one without the service.
    pub async fn look(&self) -> Option<String> {
        match self.client.get(PLACE).await {
            Ok(notice) => Some(AsRef::<str>::as_ref(&notice).to_owned()),
            Err(ImdsError::ErrorResponse(said)) if said.response().status().as_u16() == NOTHING_SAID => None,
            Err(error) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    warn!(%error, "no spot notice is seen: the instance's metadata service does not answer");
                }
                None
            }
        }
    }
}
