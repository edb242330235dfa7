//! Redis: a stream with a consumer group, whose entries are acknowledged, and a hash a block in which its results are
//! collected, by scripts that the server runs as one.

use std::path::Path;
use std::time::Duration;

use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{Client, Commands, Connection, Script};
use rustix::process::Signal;

use super::Server;
use crate::programs::{Process, Programs, free_port, password, said, write_private};
use crate::queue::{INPUT, OUTPUT};
use crate::{BaselineError, Queue, Task};

const PROGRAM: &str = "redis-server";
const STREAM: &str = "tasks";
const GROUP: &str = "workers";

/// KEYS: the stream. ARGV: a block's height, how many segments it has, the input.
const ENQUEUE: &str = "
for segment = 0, ARGV[2] - 1 do
    redis.call('XADD', KEYS[1], '*', 'height', ARGV[1], 'segment', segment, 'segments', ARGV[2], 'input', ARGV[3])
end";
/// KEYS: the stream, the block. ARGV: the group, the entry, the block's height, the segment or `join`, how many there are, the
/// result, the input.
const COMPLETE: &str = "
local is_new = redis.call('HSET', KEYS[2], ARGV[4], ARGV[6])
local is_segment = ARGV[4] ~= 'join' and tonumber(ARGV[5]) > 1
if is_new == 1 and is_segment and redis.call('HLEN', KEYS[2]) == tonumber(ARGV[5]) then
    redis.call('XADD', KEYS[1], '*', 'height', ARGV[3], 'segment', 'join', 'segments', ARGV[5], 'input', ARGV[7])
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])";

pub struct Redis {
    process: Process,
    version: String,
    client: Client,
}

impl Redis {
    pub fn start(programs: &Programs, folder: &Path, stop: &dyn Fn() -> bool) -> Result<Self, BaselineError> {
        let program = programs.find(PROGRAM, "redis-server")?;
        // It says `Redis server v=7.0.15 sha=...`.
        let version = said(&program, &["-v"])?;
        let version = version.split_whitespace().find_map(|word| word.strip_prefix("v="));
        let version = version.unwrap_or_default().to_owned();
        let (port, password, file) = (free_port()?, password()?, folder.join("redis.conf"));
        let config = format!(
            "bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir \"{}\"\ndaemonize no\nsave \"\"\n\
             appendonly yes\nappendfsync always\n",
            folder.display()
        );
        write_private(&file, &config)?;
        let mut process = Process::start(PROGRAM, &program, folder, (Signal::TERM, "TERM"), |command| {
            command.arg(&file);
        })?;
        let client = Client::open(format!("redis://:{password}@127.0.0.1:{port}"))?;
        process.wait_until(stop, || {
            let mut connection = client.get_connection()?;
            Ok(connection.xgroup_create_mkstream::<_, _, _, ()>(STREAM, GROUP, "0")?)
        })?;
        Ok(Self { process, version, client })
    }
}

impl Server for Redis {
    fn version(&self) -> &str {
        &self.version
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn connect(&self) -> Result<Box<dyn Queue>, BaselineError> {
        let connection = self.client.get_connection()?;
        let scripts = [ENQUEUE, COMPLETE].map(Script::new);
        Ok(Box::new(Streams { connection, scripts, held: String::new() }))
    }
}

/// One connection.
struct Streams {
    connection: Connection,
    /// That enqueues, that completes.
    scripts: [Script; 2],
    /// The entry that was claimed last.
    held: String,
}

impl Queue for Streams {
    fn enqueue(&mut self, height: u64, segments: u32) -> Result<(), BaselineError> {
        let mut call = self.scripts[0].key(STREAM);
        Ok(call.arg(height).arg(segments).arg(INPUT).invoke(&mut self.connection)?)
    }

    fn claim(&mut self, wait: Duration) -> Result<Option<Task>, BaselineError> {
        let wait_ms = usize::try_from(wait.as_millis()).unwrap_or(usize::MAX);
        // All workers are one consumer: none of them takes over what another one had.
        let options = StreamReadOptions::default().group(GROUP, GROUP).count(1).block(wait_ms);
        let reply: Option<StreamReadReply> = self.connection.xread_options(&[STREAM], &[">"], &options)?;
        let entry = reply.and_then(|reply| reply.keys.into_iter().next()?.ids.into_iter().next());
        let Some(entry) = entry else { return Ok(None) };
        let field = |name: &str| entry.get::<String>(name).unwrap_or_default();
        let number = |name: &str| field(name).parse().ok();
        let task = match (number("height"), number("segments")) {
            (Some(height), Some(segments)) => {
                let segment = number("segment").and_then(|segment| u32::try_from(segment).ok());
                u32::try_from(segments).ok().map(|segments| Task { height, segment, segments })
            }
            _ => None,
        };
        let task = task.ok_or_else(|| BaselineError::Unsound(format!("a task's entry is {entry:?}")))?;
        self.held = entry.id;
        Ok(Some(task))
    }

    fn complete(&mut self, task: Task) -> Result<(), BaselineError> {
        let segment = task.segment.map_or_else(|| "join".to_owned(), |segment| segment.to_string());
        let mut call = self.scripts[1].key(STREAM);
        call.key(format!("block:{}", task.height)).arg(GROUP).arg(&self.held).arg(task.height).arg(segment);
        Ok(call.arg(task.segments).arg(OUTPUT).arg(INPUT).invoke(&mut self.connection)?)
    }

    fn open_tasks(&mut self) -> Result<u64, BaselineError> {
        // One that is done is taken out.
        Ok(self.connection.xlen(STREAM)?)
    }
}
