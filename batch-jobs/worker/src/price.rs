//! What a spot machine costs now.
//!
//! The instance says what it is and where (its metadata service), and EC2 what such an instance costs there as spot. A job that
//! has some of the machine's processors alone (ECS says how many) is counted for that part. On any other machine, and where one
//! of them does not answer, nothing is known, and the pool's `price_usd_per_hour` counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_config::imds::Client;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::http::Request;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_xml::decode::{Document, try_data};
use proofyard_aws::clients::sdk::{connector, metadata_client};
use proofyard_core::error::{Cause, because, with_causes};
use tracing::{info, warn};

use crate::home::JobHost;

/// A spot price changes some times a day.
pub(crate) const PRICE_LOOK: Duration = Duration::from_secs(30 * 60);
/// The worker starts meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";
/// That this is no instance of EC2's, as every SDK of AWS has it.
const NO_METADATA: &str = "AWS_EC2_METADATA_DISABLED";
/// Names another EC2, as for every client of AWS.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL"];
/// Where ECS describes the container, which a job of AWS Batch is.
const CONTAINER: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// ECS counts a processor so.
const UNITS_OF_A_PROCESSOR: f64 = 1_024.0;

/// The price that was found last, in millionths of a US dollar an hour; 0 for none.
#[derive(Default)]
pub(crate) struct KnownPrice(AtomicU64);

impl KnownPrice {
    pub fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|price| *price > 0)
    }
}

/// Asks for the price anew. What was known stays where nobody answers.
pub(crate) async fn find_price(host: &JobHost) {
    let no_metadata = std::env::var(NO_METADATA).is_ok_and(|value| value == "true");
    if host.job.is_none() || no_metadata {
        return;
    }
    let found = tokio::time::timeout(PATIENCE, price_of_this_machine(host.aws.config())).await;
    match found.map_err(Cause::from).and_then(|found| found) {
        Ok(None) => {}
        Ok(Some(price)) => {
            let microusd_per_hour = (price.usd_per_hour * price.part * 1_000_000.0).round() as u64;
            host.price.0.store(microusd_per_hour, Ordering::Relaxed);
            let Price { instance, zone, usd_per_hour, part } = price;
            info!(pool = host.pool, instance, zone, usd_per_hour, part, "what this spot machine costs");
        }
        Err(error) => {
            warn!(pool = host.pool, error = %with_causes(error.as_ref()), "what this machine costs is not known");
        }
    }
}

struct Price {
    instance: String,
    zone: String,
    /// Of the whole instance.
    usd_per_hour: f64,
    /// Of the instance that this job has.
    part: f64,
}

/// `None` where it is no spot machine.
async fn price_of_this_machine(config: &SdkConfig) -> Result<Option<Price>, Cause> {
    let metadata = metadata_client();
    if said(&metadata, "instance-life-cycle").await? != "spot" {
        return Ok(None);
    }
    let instance = said(&metadata, "instance-type").await?;
    let zone = said(&metadata, "placement/availability-zone").await?;
    let answer = describe(config, &instance, &zone).await?;
    let usd_per_hour = price_in(&answer).map_err(|error| because("EC2's answer cannot be read", error))?;
    let usd_per_hour =
        usd_per_hour.ok_or_else(|| format!("EC2 knows no spot price of {instance} in {zone}"))?;
    Ok(Some(Price { instance, zone, usd_per_hour, part: part_of_the_machine().await? }))
}

async fn said(metadata: &Client, what: &str) -> Result<String, Cause> {
    let said = metadata.get(format!("/latest/meta-data/{what}")).await;
    let said = said.map_err(|error| because("the instance's metadata service does not answer", error))?;
    Ok(AsRef::<str>::as_ref(&said).to_owned())
}

/// What EC2 answers to `DescribeSpotPriceHistory`, the newest price alone.
async fn describe(config: &SdkConfig, instance: &str, zone: &str) -> Result<String, Cause> {
    let region = config.region().map_or("us-east-1", |region| region.as_ref());
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let named = ENDPOINTS.iter().find_map(|name| std::env::var(name).ok());
    let url = named.unwrap_or_else(|| format!("https://ec2.{region}.{domain}"));
    // Nothing in it needs escaping: letters, digits, dots and hyphens.
    let body = format!(
        "Action=DescribeSpotPriceHistory&Version=2016-11-15&InstanceType.1={instance}&AvailabilityZone={zone}\
         &ProductDescription.1=Linux%2FUNIX&MaxResults=1"
    );
    let credentials = config.credentials_provider().ok_or("there are no credentials")?;
    let identity = credentials.provide_credentials().await?.into();
    let signing = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("ec2")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let url = format!("{}/", url.trim_end_matches('/'));
    let headers = [("content-type", CONTENT_TYPE)];
    let signable =
        SignableRequest::new("POST", &url, headers.into_iter(), SignableBody::Bytes(body.as_bytes()))?;
    let (signed, _) = sign(signable, &signing)?.into_parts();
    let mut request = Request::new(SdkBody::from(body));
    request.set_method("POST")?;
    request.set_uri(url)?;
    request.headers_mut().insert("content-type", CONTENT_TYPE);
    for (name, value) in signed.headers() {
        request.headers_mut().insert(name.to_owned(), value.to_owned());
    }
    sent(request, "EC2").await
}

/// This job's part of the processors; all of them where it is in no container of ECS.
async fn part_of_the_machine() -> Result<f64, Cause> {
    let Ok(container) = std::env::var(CONTAINER) else { return Ok(1.0) };
    let mut request = Request::new(SdkBody::empty());
    request.set_uri(container)?;
    let described: serde_json::Value = serde_json::from_str(&sent(request, "ECS").await?)?;
    let units = described["Limits"]["CPU"].as_f64().filter(|units| *units > 0.0);
    let processors = available_parallelism()?.get() as f64;
    Ok(units.map_or(1.0, |units| (units / UNITS_OF_A_PROCESSOR / processors).min(1.0)))
}

async fn sent(request: Request, who: &str) -> Result<String, Cause> {
    let answer = connector().call(request).await;
    let answer = answer.map_err(|error| because(format!("{who} does not answer"), error))?;
    let status = answer.status().as_u16();
    let body = ByteStream::new(answer.into_body()).collect().await?.into_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    match status {
        200 => Ok(body),
        _ => Err(format!("{who} answered {status}: {}", first_characters(&body)).into()),
    }
}

/// Enough of an answer to see the code and the message of a refusal.
fn first_characters(body: &str) -> String {
    body.chars().take(300).collect()
}

fn price_in(answer: &str) -> Result<Option<f64>, Cause> {
    let mut document = Document::new(answer);
    let mut root = document.root_element()?;
    while let Some(mut set) = root.next_tag() {
        if !set.start_el().matches("spotPriceHistorySet") {
            continue;
        }
        while let Some(mut item) = set.next_tag() {
            while let Some(mut field) = item.next_tag() {
                if field.start_el().matches("spotPrice") {
                    let price: f64 = try_data(&mut field)?.trim().parse()?;
                    return Ok(Some(price).filter(|price| price.is_finite() && *price >= 0.0));
                }
            }
        }
    }
    Ok(None)
}
