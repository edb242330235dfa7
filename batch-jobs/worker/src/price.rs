//! What a spot machine costs now.
//!
//! The instance says what it is and where (its metadata service), and EC2 what such an instance has, and costs there as spot. What
//! as many jobs of this pool as fit on it would share is counted for each: ECS says how many processors and how much memory a job
//! has. On any other machine, and where one of them does not answer, nothing is known, and the pool's `price_usd_per_hour` counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_config::SdkConfig;
use aws_config::imds::Client;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::http::Request;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_xml::decode::{Document, ScopedDecoder, try_data};
use proofyard_aws::clients::sdk::{connector, metadata_client};
use proofyard_aws::pools::machine::MachinePart;
use proofyard_core::error::{Cause, because, with_causes};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// A spot price changes some times a day.
const LOOK: Duration = Duration::from_secs(30 * 60);
/// The next look, where nobody answered.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// What nobody has said again for so long is not known any more.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
const PATIENCE: Duration = Duration::from_secs(5);
/// Of a machine's memory, what its system and ECS's agent leave to jobs: AWS Batch's own guide keeps some hundred MiB.
const MEMORY_OF_JOBS: f64 = 0.95;
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";
/// Names another EC2, as for every client of AWS.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL"];
/// Where ECS describes the container, which a job of AWS Batch is.
const CONTAINER: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// ECS counts a processor so.
const UNITS_OF_A_PROCESSOR: f64 = 1_024.0;

/// The price that was found last, in millionths of a US dollar an hour; 0 for none.
#[derive(Clone, Default)]
pub(crate) struct KnownPrice(Arc<AtomicU64>);

impl KnownPrice {
    pub fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|price| *price > 0)
    }

    /// Keeps it up to date until the runtime ends. A job of this pool has so many GPUs.
    pub async fn watch(self, config: SdkConfig, pool: String, gpus: u32, first: oneshot::Sender<()>) {
        let mut first = Some(first);
        let mut said = Instant::now();
        loop {
            let found = timeout(PATIENCE, price_of_this_machine(&config, gpus)).await;
            let next = match found.map_err(Cause::from).and_then(|found| found) {
                Ok(None) => return,
                Ok(Some(Price { instance, zone, usd_per_hour, jobs })) => {
                    info!(pool, instance, zone, usd_per_hour, jobs, "what this spot machine costs");
                    let microusd_per_hour = (usd_per_hour / f64::from(jobs) * 1_000_000.0).round() as u64;
                    self.0.store(microusd_per_hour, Ordering::Relaxed);
                    said = Instant::now();
                    LOOK
                }
                Err(error) => {
                    warn!(pool, error = %with_causes(error.as_ref()), "what this machine costs is not known");
                    if said.elapsed() > KEPT {
                        self.0.store(0, Ordering::Relaxed);
                    }
                    LOOK_AGAIN
                }
            };
            // Nobody waits any more after the first look.
            _ = first.take().map(|first| first.send(()));
            sleep(next).await;
        }
    }
}

/// Whether this may be an instance of EC2's, as every SDK of AWS is told.
pub(crate) fn has_metadata() -> bool {
    !std::env::var("AWS_EC2_METADATA_DISABLED").is_ok_and(|value| value == "true")
}

struct Price {
    instance: String,
    zone: String,
    /// Of the whole instance.
    usd_per_hour: f64,
    /// As many as this one fit on the instance.
    jobs: u32,
}

/// `None` where it is no spot machine.
async fn price_of_this_machine(config: &SdkConfig, gpus: u32) -> Result<Option<Price>, Cause> {
    let metadata = metadata_client();
    if said(&metadata, "instance-life-cycle").await? != "spot" {
        return Ok(None);
    }
    let instance = said(&metadata, "instance-type").await?;
    let zone = said(&metadata, "placement/availability-zone").await?;
    let price = format!(
        "DescribeSpotPriceHistory&InstanceType.1={instance}&AvailabilityZone={zone}&ProductDescription.1=Linux%2FUNIX&MaxResults=1"
    );
    let price = ec2(config, &price).await?;
    let price = numbers(&price, &["spotPriceHistorySet", "item", "spotPrice"])?.first().copied();
    let usd_per_hour = price.ok_or_else(|| format!("EC2 knows no spot price of {instance} in {zone}"))?;
    let kind = ec2(config, &format!("DescribeInstanceTypes&InstanceType.1={instance}")).await?;
    let of_machine = |path: &[&str]| {
        let numbers = numbers(&kind, &[&["instanceTypeSet", "item"], path].concat())?;
        Ok::<f64, Cause>(numbers.iter().sum())
    };
    let job = part_of_this_job(f64::from(gpus)).await?;
    let whole = MachinePart {
        processors: of_machine(&["vCpuInfo", "defaultVCpus"])?,
        memory_mib: of_machine(&["memoryInfo", "sizeInMiB"])? * MEMORY_OF_JOBS,
        gpus: of_machine(&["gpuInfo", "gpus", "item", "count"])?,
    };
    Ok(Some(Price { jobs: whole.holds(&job), instance, zone, usd_per_hour }))
}

/// What ECS says of this job. It is nothing where it is in no container.
async fn part_of_this_job(gpus: f64) -> Result<MachinePart, Cause> {
    let Ok(container) = std::env::var(CONTAINER) else {
        return Ok(MachinePart { processors: 0.0, memory_mib: 0.0, gpus });
    };
    let mut request = Request::new(SdkBody::empty());
    request.set_uri(container)?;
    let described: serde_json::Value = serde_json::from_str(&sent(request, "ECS").await?)?;
    let limit = |name: &str| described["Limits"][name].as_f64().unwrap_or_default();
    Ok(MachinePart { processors: limit("CPU") / UNITS_OF_A_PROCESSOR, memory_mib: limit("Memory"), gpus })
}

async fn said(metadata: &Client, what: &str) -> Result<String, Cause> {
    let said = metadata.get(format!("/latest/meta-data/{what}")).await;
    let said = said.map_err(|error| because("the instance's metadata service does not answer", error))?;
    Ok(AsRef::<str>::as_ref(&said).to_owned())
}

/// What EC2 answers to an action with its parameters, in which nothing needs escaping.
async fn ec2(config: &SdkConfig, action: &str) -> Result<String, Cause> {
    let region = config.region().map_or("us-east-1", |region| region.as_ref());
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let named = ENDPOINTS.iter().find_map(|name| std::env::var(name).ok());
    let url = named.unwrap_or_else(|| format!("https://ec2.{region}.{domain}"));
    let body = format!("Version=2016-11-15&Action={action}");
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

/// The numbers at a path of tags, in the order in which they stand.
fn numbers(answer: &str, path: &[&str]) -> Result<Vec<f64>, Cause> {
    let unread = |error: Cause| because("EC2's answer cannot be read", error);
    let mut document = Document::new(answer);
    let mut root = document.root_element().map_err(|error| unread(error.into()))?;
    let mut numbers = Vec::new();
    collect(&mut root, path, &mut numbers).map_err(unread)?;
    Ok(numbers)
}

fn collect(place: &mut ScopedDecoder<'_, '_>, path: &[&str], numbers: &mut Vec<f64>) -> Result<(), Cause> {
    let Some((tag, path)) = path.split_first() else {
        let number: f64 = try_data(place)?.trim().parse()?;
        numbers.extend(Some(number).filter(|number| number.is_finite() && *number >= 0.0));
        return Ok(());
    };
    while let Some(mut inner) = place.next_tag() {
        if inner.start_el().matches(tag) {
            collect(&mut inner, path, numbers)?;
        }
    }
    Ok(())
}
