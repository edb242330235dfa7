//! One task at the service, whatever its protocol: its job is created or found again, noted, waited for, fetched.
//!
//! Before there is a job, trouble is `unavailable`: nothing was tried, and the yard tries again. Once there is one it is paid for,
//! so trouble is waited out, until the deadline; and then the job is left alone, for the next attempt to take up. It is cancelled
//! only where nobody wants the result any more.

use std::time::{Duration, Instant};

use proofyard_prover::message::CancelReason;
use proofyard_prover::{Failure, ProveRequest, Work};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::http::{Http, Watch};
use crate::service::{Job, Proof, Service, ServiceError, State, Submitted, Task};
use crate::settings::Settings;

/// How much earlier than it would be killed the prover gives up waiting.
const MARGIN: Duration = Duration::from_millis(500);
/// How long cancelling a job may take; the yard waits for 2 s.
const CANCEL: Duration = Duration::from_millis(1500);
/// While the service is in trouble, it is asked ever less often, down to this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// How often a proof that was cut off is fetched again.
const FETCHES: u32 = 3;
/// How often the yard is told that nothing has changed.
const TELL: Duration = Duration::from_secs(5);

/// What is noted of a job, so that the next attempt finds it.
#[derive(Serialize, Deserialize)]
struct Note {
    /// A hash of the service, the program and the input: a job of another one is not taken up.
    of: String,
    job: Job,
}

/// The task's way to its proof.
pub(crate) struct JobRun<'a, 'w> {
    http: &'a Http,
    service: &'a dyn Service,
    endpoint: &'a str,
    poll: Duration,
    unknown_after: Duration,
    work: &'a mut Work<'w>,
    task: Task,
    told: Option<Instant>,
    told_what: (f64, String),
    /// Since when the service has answered nothing but that perhaps it does not know the job.
    doubtful: Option<Instant>,
}

/// What is left of a job that does not end with a proof.
enum End {
    Failed(Failure),
    /// It is no longer wanted here, and this job may still be in work.
    Stopped(CancelReason),
}

impl<'a, 'w> JobRun<'a, 'w> {
    pub fn new(
        http: &'a Http,
        service: &'a dyn Service,
        settings: &'a Settings,
        work: &'a mut Work<'w>,
        request: &ProveRequest,
        input: Vec<u8>,
    ) -> JobRun<'a, 'w> {
        let time = Duration::from_millis(request.deadline_ms);
        let now = Instant::now();
        // A year for a deadline that no clock reaches.
        let deadline = now.checked_add(time).unwrap_or(now + Duration::from_secs(365 * 24 * 3600));
        let task = Task { id: request.task.clone(), input, deadline: deadline - MARGIN.min(time / 4) };
        JobRun {
            http,
            service,
            endpoint: &settings.endpoint,
            poll: settings.poll,
            unknown_after: settings.unknown_after,
            work,
            task,
            told: None,
            told_what: (0.0, String::new()),
            doubtful: None,
        }
    }

    /// Brings the proof. `resume` is what an earlier attempt noted.
    pub fn run(mut self, resume: Option<&str>) -> Result<Proof, Failure> {
        let mut job = resume.and_then(|note| self.noted(note));
        let ended = self.bring(&mut job);
        match ended {
            Ok(proof) => Ok(proof),
            Err(End::Failed(failure)) => Err(failure),
            Err(End::Stopped(reason)) => Err(self.stop(reason, job)),
        }
    }

    /// `job` is always the job that may be in work.
    fn bring(&mut self, job: &mut Option<Job>) -> Result<Proof, End> {
        let mut is_taken_up = job.is_some();
        // A service that has lost the job gets the task once more, not again and again.
        let (mut losses, mut has_stepped_back) = (0, false);
        loop {
            let current = match job {
                Some(job) => job.clone(),
                None => match self.submit(job)? {
                    Submitted::Proof(proof) => return Ok(proof),
                    Submitted::Job(job) => job,
                },
            };
            if is_taken_up {
                self.report_progress(0.0, &format!("takes up job {current}"));
            }
            match self.wait_for(current, is_taken_up, job)? {
                Over::Proof(proof) => return Ok(proof),
                Over::Lost(last) => {
                    *job = self.service.made_from(&last).filter(|_| !has_stepped_back);
                    has_stepped_back = true;
                    losses += u32::from(job.is_none());
                    if losses > 1 {
                        return Err(End::Failed(Failure::transient("the service has lost the job twice")));
                    }
                    self.report_progress(
                        0.0,
                        "the service does not know the job any more; submits the task again",
                    );
                }
                Over::FailedBefore(last, failure) => {
                    self.report_progress(
                        0.0,
                        &format!("job {last} has failed ({}); goes on with another", failure.message),
                    );
                    *job = self.service.made_from(&last);
                }
            }
            is_taken_up = false;
        }
    }

    fn submit(&mut self, job: &mut Option<Job>) -> Result<Submitted, End> {
        self.report_progress(0.0, "submits the task");
        let submitted = self.call(|service, line, task| service.submit(line, task, job));
        match submitted {
            Ok(Submitted::Job(new)) => {
                self.take(job, &new)?;
                Ok(Submitted::Job(new))
            }
            Ok(proof) => Ok(proof),
            Err(ServiceError::Stopped(reason)) => Err(End::Stopped(reason)),
            Err(trouble) => Err(End::Failed(trouble.into_failure())),
        }
    }

    /// There is this job now. Where its id is the service's, it is noted before anything else.
    fn take(&mut self, job: &mut Option<Job>, new: &Job) -> Result<(), End> {
        *job = Some(new.clone());
        self.doubtful = None;
        if !self.service.chooses_ids() {
            return Ok(());
        }
        let note = Note { of: self.mark(), job: new.clone() };
        let note = serde_json::to_string(&note).map_err(|error| End::Failed(Failure::permanent(error)))?;
        let kept = self.work.checkpoint(&note);
        kept.map_err(|failure| match self.work.cancelled() {
            Some(reason) => {
                // Nobody else can find it, so it is of no use to anybody.
                let _ = self.cancel(new);
                let message = format!("it was cancelled ({reason}) before job {new} was noted");
                End::Failed(Failure::transient(message))
            }
            None => End::Failed(failure),
        })
    }

    /// Waits until the job is over, and fetches its proof. A job that is taken up, and has failed already, has failed an earlier
    /// attempt.
    fn wait_for(
        &mut self,
        mut current: Job,
        mut is_taken_up: bool,
        job: &mut Option<Job>,
    ) -> Result<Over, End> {
        let mut backoff = self.poll;
        let mut fetches = 0;
        let mut is_done = false;
        loop {
            let asked = if is_done { self.fetch(&current) } else { self.ask(&current, job) };
            let mut pause = self.poll;
            match asked {
                Ok(Asked::Proof(proof)) => return Ok(Over::Proof(proof)),
                Ok(Asked::Failed(failure)) if is_taken_up => return Ok(Over::FailedBefore(current, failure)),
                Ok(Asked::Failed(failure)) => return Err(End::Failed(failure)),
                Ok(Asked::Done) => {
                    is_done = true;
                    continue;
                }
                Ok(Asked::Next(next)) => {
                    current = next;
                    continue;
                }
                Ok(Asked::Running) => {
                    is_taken_up = false;
                    backoff = self.poll;
                    self.doubtful = None;
                }
                Err(Wait::End(end)) => return Err(end),
                Err(Wait::ServiceError(ServiceError::Unknown(message))) => {
                    eprintln!("{message}");
                    return Ok(Over::Lost(current));
                }
                Err(Wait::ServiceError(ServiceError::PerhapsUnknown(message))) => {
                    let since = *self.doubtful.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.unknown_after {
                        return Ok(Over::Lost(current));
                    }
                    pause = self.is_in_trouble(&message, &mut backoff, None);
                }
                Err(Wait::ServiceError(ServiceError::Unavailable(message, wait))) => {
                    self.doubtful = None;
                    pause = self.is_in_trouble(&message, &mut backoff, wait);
                }
                Err(Wait::ServiceError(ServiceError::CutOff(message))) => {
                    fetches += 1;
                    if is_done && fetches >= FETCHES {
                        return Err(End::Failed(Failure::transient(format!(
                            "the proof is cut off each time: {message}"
                        ))));
                    }
                    pause = self.is_in_trouble(&message, &mut backoff, None);
                }
                Err(Wait::ServiceError(trouble)) => return Err(End::Failed(trouble.into_failure())),
            }
            self.pause(pause, &current)?;
        }
    }

    fn ask(&mut self, current: &Job, job: &mut Option<Job>) -> Result<Asked, Wait> {
        match self.call(|service, line, _| service.poll(line, current))? {
            State::Running(done, what) => {
                self.report_progress(done, &what);
                Ok(Asked::Running)
            }
            State::Done => Ok(Asked::Done),
            State::Failed(failure) => Ok(Asked::Failed(failure)),
            State::Next(next) => {
                self.take(job, &next).map_err(Wait::End)?;
                self.report_progress(0.9, &format!("goes on as job {next}"));
                Ok(Asked::Next(next))
            }
        }
    }

    fn fetch(&mut self, current: &Job) -> Result<Asked, Wait> {
        self.report_progress(0.95, "fetches the proof");
        Ok(Asked::Proof(self.call(|service, line, _| service.fetch(line, current))?))
    }

    fn is_in_trouble(&mut self, message: &str, backoff: &mut Duration, wait: Option<Duration>) -> Duration {
        self.report_progress(self.told_what.0, message);
        let pause = wait.unwrap_or_default().max(*backoff);
        *backoff = (*backoff * 2).min(LONGEST_BACKOFF);
        pause
    }

    /// Waits, unless the deadline is near or the work is no longer wanted.
    fn pause(&mut self, pause: Duration, current: &Job) -> Result<(), End> {
        let left = self.task.deadline.saturating_duration_since(Instant::now());
        if let Some(reason) = self.work.wait(pause.min(left)) {
            return Err(End::Stopped(reason));
        }
        if pause < left {
            return Ok(());
        }
        let message = format!("job {current} is not over at the deadline; it is left to the next attempt");
        Err(End::Failed(Failure::transient(format!("{message} (last: {})", self.told_what.1))))
    }

    /// Only what nobody wants any more is cancelled: whoever has the lease now, or tries next, wants it.
    fn stop(&mut self, reason: CancelReason, job: Option<Job>) -> Failure {
        match job {
            Some(job) if reason == CancelReason::Unwanted => match self.cancel(&job) {
                Ok(()) => Failure::transient(format!("it was cancelled, and job {job} at the service too")),
                Err(why) => {
                    Failure::transient(format!("it was cancelled, but job {job} could not be: {why}"))
                }
            },
            Some(job) => Failure::transient(format!("it was cancelled ({reason}); job {job} goes on")),
            None => Failure::transient(format!("it was cancelled ({reason})")),
        }
    }

    fn cancel(&mut self, job: &Job) -> Result<(), String> {
        let mut watch = crate::http::Unwatched;
        let mut line = self.http.line(&mut watch, Instant::now() + CANCEL);
        self.service.cancel(&mut line, job).map_err(|trouble| trouble.into_failure().message)
    }

    fn call<T>(
        &mut self,
        call: impl FnOnce(&dyn Service, &mut crate::http::Line<'_>, &Task) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let mut watch = Wanted { work: self.work, done: self.told_what.0, told: Instant::now() };
        let mut line = self.http.line(&mut watch, self.task.deadline);
        call(self.service, &mut line, &self.task)
    }

    /// Changes are reported at once, the same progress now and then.
    fn report_progress(&mut self, done: f64, what: &str) {
        // Progress does not go back.
        let done = self.told_what.0.max(done);
        let is_new = self.told_what.1 != what || (self.told_what.0 - done).abs() > 1e-9;
        if is_new || self.told.is_none_or(|told| told.elapsed() >= TELL) {
            self.work.progress(done, what);
            self.told = Some(Instant::now());
            self.told_what = (done, what.to_string());
        }
    }

    /// What is the same for all jobs that would make the same proof.
    fn mark(&self) -> String {
        let mut hash = Sha256::new();
        for part in [self.endpoint.as_bytes(), self.service.program().as_bytes(), &self.task.input] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hex::encode(&hash.finalize()[..16])
    }

    fn noted(&mut self, note: &str) -> Option<Job> {
        let note: Option<Note> = serde_json::from_str(note).ok();
        let found = note.filter(|note| note.of == self.mark() && self.service.chooses_ids());
        if found.is_none() {
            self.report_progress(
                0.0,
                "the job that was noted is of another service, program or input; it is not taken up",
            );
        }
        found.map(|note| note.job)
    }
}

/// What became of a job.
enum Over {
    Proof(Proof),
    /// The service does not know it any more.
    Lost(Job),
    /// It had failed before this attempt took it up.
    FailedBefore(Job, Failure),
}

enum Asked {
    Running,
    Failed(Failure),
    Next(Job),
    Done,
    Proof(Proof),
}

enum Wait {
    ServiceError(ServiceError),
    End(End),
}

impl From<ServiceError> for Wait {
    fn from(trouble: ServiceError) -> Wait {
        match trouble {
            ServiceError::Stopped(reason) => Wait::End(End::Stopped(reason)),
            trouble => Wait::ServiceError(trouble),
        }
    }
}

/// A call is made for as long as its work is wanted.
struct Wanted<'a, 'w> {
    work: &'a mut Work<'w>,
    /// How much was done when it began.
    done: f64,
    told: Instant,
}

impl Watch for Wanted<'_, '_> {
    fn cancelled(&mut self) -> Option<CancelReason> {
        self.work.cancelled()
    }

    fn waits(&mut self, time: Duration) {
        if self.told.elapsed() >= TELL {
            self.told = Instant::now();
            self.work.progress(self.done, &format!("waits for an answer, {} s so far", time.as_secs()));
        }
    }
}
