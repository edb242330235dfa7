//! Telling sinks on AWS that are no files and hold no keys, by `proofyard-telling`.
//!
//! - [`http`]: webhooks and servers with the API of Ethproofs, by `proofyard-notify`;
//! - [`services`]: queues, topics and event buses of AWS.

mod http;
mod services;

use futures_util::future::LocalBoxFuture;
use proofyard_aws::AwsHome;
use proofyard_aws::clients::names::Names;
use proofyard_core::pipeline::SinkTarget;
use proofyard_sinks::{Message, Outcome};
use proofyard_telling::{ToldSink, Way};

use crate::http::Http;
use crate::services::Services;

/// The connections that this process has, from one message to the next.
pub struct Notifying {
    http: Http,
    services: Services,
}

impl Notifying {
    pub fn of(home: &AwsHome) -> Self {
        Self { http: Http::of(home), services: Services::of(home.config()) }
    }
}

impl Way for Notifying {
    fn tells(&self, target: &SinkTarget) -> bool {
        matches!(target, SinkTarget::Webhook(_) | SinkTarget::Ethproofs(_) | SinkTarget::Aws(_))
    }

    fn queue(&self, names: &Names) -> String {
        names.notify_queue()
    }

    fn tell<'a>(&'a self, sink: ToldSink<'a>, message: &'a Message) -> LocalBoxFuture<'a, Outcome> {
        Box::pin(async move {
            match sink.target {
                SinkTarget::Aws(target) => self.services.tell(target, &sink.full_name(), message).await,
                target => self.http.tell(sink.home, target, message).await,
            }
        })
    }
}
