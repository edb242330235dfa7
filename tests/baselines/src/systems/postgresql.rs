//! PostgreSQL as Bento's task table uses it: a row a task, what it still waits for counted in it, and workers that take rows
//! past those that others have locked. Idle ones are woken by NOTIFY, over one connection that listens for all.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, Config, NoTls, Statement};
use rustix::process::Signal;

use super::Server;
use crate::programs::{Account, Process, Programs, free_port, password, said, write_private};
use crate::queue::{INPUT, OUTPUT};
use crate::{BaselineError, Queue, Task};

const PROGRAM: &str = "postgres";
const PACKAGE: &str = "postgresql";
const USER: &str = "bench";
/// It refuses to run as root.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];
/// Connections besides the workers'.
const MORE_CONNECTIONS: u32 = 16;
/// How often the listening thread looks whether it is to end.
const LISTEN_LOOK: Duration = Duration::from_millis(200);

/// A task's state: it waits for others, can be taken, was taken, is done. The join's index is -1, so that a block that can be
/// finished is finished first.
const TABLES: &str = "
CREATE TABLE task (
    height bigint NOT NULL,
    index integer NOT NULL,
    segments integer NOT NULL,
    state text NOT NULL,
    waits_for integer NOT NULL,
    input text NOT NULL,
    output text,
    worker integer,
    claimed_at timestamptz,
    done_at timestamptz,
    PRIMARY KEY (height, index)
);
CREATE INDEX ready ON task (height, index) WHERE state = 'ready';

CREATE FUNCTION enqueue(of bigint, parts integer, given text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO task (height, index, segments, state, waits_for, input)
        SELECT of, part, parts, 'ready', 0, given FROM generate_series(0, parts - 1) AS part;
    IF parts > 1 THEN
        INSERT INTO task (height, index, segments, state, waits_for, input)
            VALUES (of, -1, parts, 'waiting', parts, given);
    END IF;
    PERFORM pg_notify('ready', parts::text);
END $$;

CREATE FUNCTION finish(of bigint, part integer, proof text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    rest integer;
BEGIN
    UPDATE task SET state = 'done', output = proof, done_at = now()
        WHERE height = of AND index = part AND state = 'running';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'task % of block % is not running', part, of;
    END IF;
    UPDATE task SET waits_for = waits_for - 1, state = CASE waits_for WHEN 1 THEN 'ready' ELSE state END
        WHERE height = of AND index = -1 AND state = 'waiting' RETURNING waits_for INTO rest;
    IF rest = 0 THEN
        PERFORM pg_notify('ready', '1');
    END IF;
END $$;
";
const CLAIM: &str = "
UPDATE task SET state = 'running', worker = $1, claimed_at = now()
    WHERE (height, index) = (
        SELECT height, index FROM task WHERE state = 'ready' ORDER BY height, index LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING height, index, segments, input";

pub struct PostgreSql {
    /// Before the process, which waits for its clients.
    listener: Listener,
    process: Process,
    version: String,
    config: Config,
    connections: Mutex<i32>,
}

impl PostgreSql {
    pub fn start(
        programs: &Programs,
        folder: &Path,
        workers: u32,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, BaselineError> {
        let program = programs.find(PROGRAM, PACKAGE)?;
        let initdb = programs.find("initdb", PACKAGE)?;
        // It says `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
        let version = said(&program, &["--version"])?;
        let version = version.split(' ').nth(2).unwrap_or_default().to_owned();
        let account = Account::instead_of_root(PROGRAM, &ACCOUNTS)?;
        if let Some(account) = &account {
            account.own(folder)?;
        }
        let (port, password, data) = (free_port()?, password()?, folder.join("data"));
        create_cluster(&initdb, folder, &data, &password, account.as_ref())?;
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
            format!("max_connections={}", workers + MORE_CONNECTIONS),
            "fsync=on".to_owned(),
            "synchronous_commit=on".to_owned(),
        ];
        let mut process = Process::start(PROGRAM, &program, folder, (Signal::INT, "INT"), |command| {
            command.arg("-D").arg(&data);
            for setting in &settings {
                command.args(["-c", setting]);
            }
            if let Some(account) = &account {
                account.runs(command);
            }
        })?;
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user(USER).password(password).dbname("postgres");
        let mut client = process.wait_until(stop, || Ok(config.connect(NoTls)?))?;
        client.batch_execute(TABLES)?;
        let listener = Listener::start(client, workers)?;
        Ok(Self { listener, process, version, config, connections: Mutex::new(0) })
    }
}

/// With a password for everybody: whoever else is on this machine is to stay out.
fn create_cluster(
    initdb: &Path,
    folder: &Path,
    data: &Path,
    password: &str,
    account: Option<&Account>,
) -> Result<(), BaselineError> {
    let file: PathBuf = folder.join("password");
    write_private(&file, password)?;
    let mut command = Command::new(initdb);
    command.args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync", "--pwfile"]);
    command.arg(&file).arg("-D").arg(data).current_dir(folder).stdin(Stdio::null());
    if let Some(account) = account {
        account.own(&file)?;
        account.runs(&mut command);
    }
    let output = command.output().map_err(BaselineError::io("initdb cannot be run"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().replace('\n', " | ");
    Err(BaselineError::Server { program: "initdb", what: format!("ended ({}): {said}", output.status) })
}

impl Server for PostgreSql {
    fn version(&self) -> &str {
        &self.version
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn connect(&self) -> Result<Box<dyn Queue>, BaselineError> {
        let mut client = self.config.connect(NoTls)?;
        let claim = client.prepare(CLAIM)?;
        let finish = client.prepare("SELECT finish($1, $2, $3)")?;
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        *connections += 1;
        let bell = Arc::clone(&self.listener.bell);
        Ok(Box::new(Rows { client, claim, finish, bell, worker: *connections }))
    }
}

/// One connection.
struct Rows {
    client: Client,
    claim: Statement,
    finish: Statement,
    bell: Arc<Bell>,
    worker: i32,
}

/// Of a task in its row.
fn index(task: Task) -> i32 {
    task.segment.map_or(-1, |segment| i32::try_from(segment).unwrap_or(i32::MAX))
}

impl Rows {
    fn try_claim(&mut self) -> Result<Option<Task>, BaselineError> {
        let row = self.client.query_opt(&self.claim, &[&self.worker])?;
        let Some(row) = row else { return Ok(None) };
        let (height, index, segments): (i64, i32, i32) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(Some(Task {
            height: height.unsigned_abs(),
            segment: u32::try_from(index).ok(),
            segments: segments.unsigned_abs(),
        }))
    }
}

impl Queue for Rows {
    fn enqueue(&mut self, height: u64, segments: u32) -> Result<(), BaselineError> {
        let (height, segments) = (height.cast_signed(), segments.cast_signed());
        self.client.execute("SELECT enqueue($1, $2, $3)", &[&height, &segments, &INPUT])?;
        Ok(())
    }

    fn claim(&mut self, wait: Duration) -> Result<Option<Task>, BaselineError> {
        if let Some(task) = self.try_claim()? {
            return Ok(Some(task));
        }
        self.bell.wait(wait);
        self.try_claim()
    }

    fn complete(&mut self, task: Task) -> Result<(), BaselineError> {
        self.client.execute(&self.finish, &[&task.height.cast_signed(), &index(task), &OUTPUT])?;
        Ok(())
    }

    fn open_tasks(&mut self) -> Result<u64, BaselineError> {
        let row = self.client.query_one("SELECT count(*) FROM task WHERE state <> 'done'", &[])?;
        Ok(row.try_get::<_, i64>(0)?.unsigned_abs())
    }
}

/// Wakes as many idle workers as there are new tasks, and no more.
struct Bell {
    /// Tasks that nobody was woken for, at most as many as there are workers.
    rung: Mutex<u32>,
    wakes: Condvar,
    workers: u32,
}

impl Bell {
    fn ring(&self, tasks: u32) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        *rung = rung.saturating_add(tasks).min(self.workers);
        (0..tasks.min(self.workers)).for_each(|_| self.wakes.notify_one());
    }

    fn wait(&self, wait: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wakes.wait_timeout_while(rung, wait, |rung| *rung == 0);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *rung = rung.saturating_sub(1);
    }
}

/// The connection that listens for all workers of this program.
struct Listener {
    bell: Arc<Bell>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    fn start(mut client: Client, workers: u32) -> Result<Self, BaselineError> {
        client.batch_execute("LISTEN ready")?;
        let bell = Arc::new(Bell { rung: Mutex::new(0), wakes: Condvar::new(), workers });
        let ended = Arc::new(AtomicBool::new(false));
        let (rings, until) = (Arc::clone(&bell), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let mut notifications = client.notifications();
                let mut coming = notifications.timeout_iter(LISTEN_LOOK);
                match coming.next() {
                    Ok(Some(notification)) => rings.ring(notification.payload().parse().unwrap_or(1)),
                    Ok(None) => {}
                    // Workers find tasks without it, later; the figures would tell.
                    Err(_) => return,
                }
            }
        });
        Ok(Self { bell, ended, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
