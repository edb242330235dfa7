//! How AWS is called: one HTTP client, a time limit on every call, bounded and jittered retries.
//!
//! Region, credentials and endpoints come from where every AWS SDK takes them: the environment, `~/.aws`, the container
//! or the instance. `AWS_ENDPOINT_URL` (and `AWS_ENDPOINT_URL_BATCH` and so on, for one service) names another AWS,
//! such as a local one.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::HttpClient;

/// A function has 5 s per event: a call slower than these limits fails, and the next event retries it.
const CONNECT: Duration = Duration::from_secs(1);
const ATTEMPT: Duration = Duration::from_millis(1_500);
const CALL: Duration = Duration::from_secs(4);
/// Tries of one call, and the first wait between two of them; the SDK doubles it and takes a random part.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(40);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What every client is made from.
pub async fn sdk_config() -> SdkConfig {
    let https = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    over(https).await
}

/// The same over another HTTP client, such as one that a test breaks.
pub async fn over(client: impl HttpClient + 'static) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(client)
        .region(region())
        .timeout_config(time_limits(ATTEMPT, CALL))
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(TRIES)
                .with_initial_backoff(FIRST_WAIT)
                .with_max_backoff(LONGEST_WAIT),
        )
        .load()
        .await
}

/// The same lookup order as the SDK's default chain, which cannot be used: its metadata client has no HTTP client, so it panics in
/// debug builds and finds no region in release builds.
fn region() -> RegionProviderChain {
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .or_else(ImdsRegionProvider::builder().configure(&metadata_config()).build())
        .or_else(Region::new("us-east-1"))
}

/// For calls that no SDK of the project has.
pub fn connector() -> Connector {
    Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
}

/// A client of the instance's metadata service, which answers at once or is not there.
pub fn metadata_client() -> imds::Client {
    imds::Client::builder()
        .configure(&metadata_config())
        .connect_timeout(Duration::from_secs(1))
        .read_timeout(Duration::from_secs(1))
        .max_attempts(1)
        .build()
}

/// What a client of the instance's metadata service is made from: it is on this machine, and speaks plain HTTP. The SDK
/// is built without an HTTP client of its own, so one must be given here too.
pub fn metadata_config() -> ProviderConfig {
    ProviderConfig::without_region().with_http_client(Builder::new().build_http())
}

pub(crate) fn time_limits(attempt: Duration, call: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(call)
        .build()
}
