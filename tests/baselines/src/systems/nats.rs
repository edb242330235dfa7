//! NATS JetStream as push0 describes itself: a work queue whose messages are acknowledged explicitly, and a key-value bucket
//! in which a block's finished segments are collected.

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{BatchConfig, Config as PullConfig};
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use async_nats::jetstream::kv::{Store, UpdateErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, StatusCode, Subject, Subscriber};
use futures_util::StreamExt;
use futures_util::future::join;
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::Server;
use crate::programs::{Process, Programs, free_port, password, said, write_private};
use crate::queue::{INPUT, OUTPUT};
use crate::{BaselineError, Queue, Task};

const PROGRAM: &str = "nats-server";
const USER: &str = "bench";
const STREAM: &str = "tasks";
const SUBJECT: &str = "task";
const CONSUMER: &str = "workers";
const BUCKET: &str = "state";
/// No message is handed out twice within it: longer than a proof takes.
const ACK_WAIT: Duration = Duration::from_secs(300);
/// Workers that may wait for a message at once; the server's default is 512.
const MAX_WAITING: i64 = 4_096;
/// Beyond a pull's own end, within which the server says that it has ended.
const PULL_GRACE: Duration = Duration::from_secs(1);

pub struct Nats {
    process: Process,
    version: String,
    port: u16,
    password: String,
}

impl Nats {
    pub fn start(
        programs: &Programs,
        folder: &Path,
        synced: bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, BaselineError> {
        let program = programs.find(PROGRAM, "nats-server")?;
        // It says `nats-server: v2.9.10`.
        let version = said(&program, &["-v"])?;
        let version = version.rsplit(": v").next().unwrap_or_default().to_owned();
        let (port, password, file) = (free_port()?, password()?, folder.join("nats.conf"));
        let sync = if synced { ", sync_interval: always" } else { "" };
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\nauthorization {{ user: {USER}, password: \"{password}\" }}\n\
             jetstream {{ store_dir: \"{}\"{sync} }}\n",
            folder.join("jetstream").display(),
        );
        write_private(&file, &config)?;
        let file = file.display().to_string();
        if synced && said(&program, &["-t", "-c", &file])?.contains("unknown field") {
            let why = format!("nats-server {version} has no sync_interval: always; 2.10 and later have it");
            return Err(BaselineError::LeftOut(why));
        }
        let process = Process::start(PROGRAM, &program, folder, (Signal::TERM, "TERM"), |command| {
            command.args(["-c", &file]);
        })?;
        let mut server = Self { process, version, port, password };
        let Self { process, port, password, .. } = &mut server;
        process.wait_until(stop, || create(*port, password))?;
        Ok(server)
    }
}

impl Server for Nats {
    fn version(&self) -> &str {
        &self.version
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn connect(&self) -> Result<Box<dyn Queue>, BaselineError> {
        let runtime = runtime()?;
        let queue = runtime.block_on(async {
            let (client, context) = connect(self.port, &self.password).await?;
            let consumer = context.get_consumer_from_stream(CONSUMER, STREAM);
            let consumer = consumer.await.map_err(BaselineError::nats)?;
            let bucket = context.get_key_value(BUCKET).await.map_err(BaselineError::nats)?;
            let inbox = Subject::from(client.new_inbox());
            let pulled = client.subscribe(inbox.clone()).await.map_err(BaselineError::nats)?;
            Ok::<_, BaselineError>(Connection {
                context,
                consumer,
                bucket,
                inbox,
                pulled,
                pulling: false,
                held: None,
            })
        })?;
        Ok(Box::new(NatsQueue { runtime, connection: queue }))
    }
}

/// On the thread of whoever calls: each worker has a connection of its own.
fn runtime() -> Result<Runtime, BaselineError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(BaselineError::io("a worker's runtime cannot be made"))
}

async fn connect(port: u16, password: &str) -> Result<(Client, Context), BaselineError> {
    let options = ConnectOptions::with_user_and_password(USER.to_owned(), password.to_owned());
    let client = options.connect(format!("127.0.0.1:{port}")).await.map_err(BaselineError::nats)?;
    Ok((client.clone(), jetstream::new(client)))
}

fn create(port: u16, password: &str) -> Result<(), BaselineError> {
    runtime()?.block_on(async {
        let (_, context) = connect(port, password).await?;
        let stream = context.create_stream(StreamConfig {
            name: STREAM.to_owned(),
            subjects: vec![SUBJECT.to_owned()],
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::File,
            num_replicas: 1,
            ..StreamConfig::default()
        });
        let stream = stream.await.map_err(BaselineError::nats)?;
        let consumer = stream.create_consumer(PullConfig {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: -1,
            max_waiting: MAX_WAITING,
            ..PullConfig::default()
        });
        consumer.await.map_err(BaselineError::nats)?;
        // What a bucket is; the client's own function asks first what servers before 2.10 do not answer.
        let bucket = context.create_stream(StreamConfig {
            name: format!("KV_{BUCKET}"),
            subjects: vec![format!("$KV.{BUCKET}.>")],
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            num_replicas: 1,
            allow_rollup: true,
            allow_direct: true,
            deny_delete: true,
            ..StreamConfig::default()
        });
        bucket.await.map_err(BaselineError::nats)?;
        Ok(())
    })
}

struct NatsQueue {
    runtime: Runtime,
    connection: Connection,
}

struct Connection {
    context: Context,
    consumer: Consumer<PullConfig>,
    bucket: Store,
    /// Where messages that this worker pulls come.
    inbox: Subject,
    pulled: Subscriber,
    /// The server is asked for a message.
    pulling: bool,
    /// Of the task that was claimed last.
    held: Option<jetstream::Message>,
}

impl Queue for NatsQueue {
    fn enqueue(&mut self, height: u64, segments: u32) -> Result<(), BaselineError> {
        self.runtime.block_on(self.connection.publish(Task::segments(height, segments)))
    }

    fn claim(&mut self, wait: Duration) -> Result<Option<Task>, BaselineError> {
        self.runtime.block_on(self.connection.claim(wait))
    }

    fn complete(&mut self, task: Task) -> Result<(), BaselineError> {
        self.runtime.block_on(self.connection.complete(task))
    }

    fn open_tasks(&mut self) -> Result<u64, BaselineError> {
        self.runtime.block_on(async {
            let stream = self.connection.context.get_stream(STREAM).await.map_err(BaselineError::nats)?;
            // One that is acknowledged is taken out.
            Ok(stream.cached_info().state.messages)
        })
    }
}

impl Connection {
    /// All are on their way before the first acknowledgement is waited for.
    async fn publish(&self, tasks: impl IntoIterator<Item = Task>) -> Result<(), BaselineError> {
        let mut acknowledgements = Vec::new();
        for task in tasks {
            let text = words(task);
            // Named, so that one that comes twice is taken once.
            let message = PublishMessage::build().message_id(key("task", task)).payload(text.into());
            let sent = self.context.send_publish(SUBJECT, message).await;
            acknowledgements.push(sent.map_err(BaselineError::nats)?);
        }
        for acknowledgement in acknowledgements {
            acknowledgement.await.map_err(BaselineError::nats)?;
        }
        Ok(())
    }

    async fn claim(&mut self, wait: Duration) -> Result<Option<Task>, BaselineError> {
        if !self.pulling {
            let pull = BatchConfig { batch: 1, expires: Some(wait), ..BatchConfig::default() };
            let asked = self.consumer.request_batch(pull, self.inbox.clone()).await;
            asked.map_err(BaselineError::nats)?;
            self.pulling = true;
        }
        let Ok(pulled) = timeout(wait + PULL_GRACE, self.pulled.next()).await else { return Ok(None) };
        let message = pulled.ok_or_else(|| BaselineError::nats("the connection was lost"))?;
        self.pulling = false;
        match message.status {
            None | Some(StatusCode::OK) => {}
            // There was none.
            Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => return Ok(None),
            Some(status) => return Err(BaselineError::nats(format!("a pull was answered with {status}"))),
        }
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        let task =
            task_of(&text).ok_or_else(|| BaselineError::Unsound(format!("a task's message is {text}")))?;
        self.held = Some(jetstream::Message { message, context: self.context.clone() });
        Ok(Some(task))
    }

    async fn complete(&mut self, task: Task) -> Result<(), BaselineError> {
        if task.is_joined() {
            self.collect(task).await?;
        } else {
            self.put_result(task).await?;
        }
        let held =
            self.held.take().ok_or_else(|| BaselineError::Unsound("nothing was claimed".to_owned()))?;
        held.double_ack().await.map_err(BaselineError::nats)
    }

    async fn put_result(&self, task: Task) -> Result<(), BaselineError> {
        let put = self.bucket.put(key("result", task), OUTPUT.into()).await;
        put.map(drop).map_err(BaselineError::nats)
    }

    /// Which segments of a block are done is one key's value, a bit each. Who loses a race for it reads it again.
    async fn collect(&self, task: Task) -> Result<(), BaselineError> {
        let block = format!("block.{}", task.height);
        let (put, mut entry) = join(self.put_result(task), self.bucket.entry(&block)).await;
        put?;
        loop {
            let (mut done, revision) = match entry.map_err(BaselineError::nats)? {
                Some(entry) => (entry.value.to_vec(), entry.revision),
                None => (vec![0; task.segments.div_ceil(8) as usize], 0),
            };
            let segment = task.segment.unwrap_or_default();
            if let Some(byte) = done.get_mut(segment as usize / 8) {
                *byte |= 1 << (segment % 8);
            }
            let count: u32 = done.iter().map(|byte| byte.count_ones()).sum();
            match self.bucket.update(&block, done.into(), revision).await {
                Ok(_) if count == task.segments => return self.publish([task.join()]).await,
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                    entry = self.bucket.entry(&block).await;
                }
                Err(error) => return Err(BaselineError::nats(error)),
            }
        }
    }
}

/// Of a bucket, and a message's id.
fn key(what: &str, task: Task) -> String {
    match task.segment {
        Some(segment) => format!("{what}.{}.{segment}", task.height),
        None => format!("{what}.{}.join", task.height),
    }
}

/// A task's message.
fn words(task: Task) -> String {
    let segment = task.segment.map_or_else(|| "join".to_owned(), |segment| segment.to_string());
    format!("{} {segment} {} {INPUT}", task.height, task.segments)
}

fn task_of(words: &str) -> Option<Task> {
    let mut words = words.split(' ');
    let height = words.next()?.parse().ok()?;
    let segment = match words.next()? {
        "join" => None,
        segment => Some(segment.parse().ok()?),
    };
    Some(Task { height, segment, segments: words.next()?.parse().ok()? })
}
