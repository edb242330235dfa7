//! A worker's machine: it registers, keeps its lease, and its slots claim, work and record, until AWS takes it back. This is
//! what crates/worker does on threads and batch-jobs/worker over AWS, here as futures.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use proofyard_core::cadence::{SLOT_PAUSE_MS, SPOT_GRACE_MS, WORKER_STEPS_MS};
use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::error::Error;
use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::pipeline::Pool;
use proofyard_core::port::{Port, Range, Wake};
use proofyard_core::state::{Listing, Task, WorkerId};
use proofyard_core::work::Performed;
use proofyard_worker::bell::idle_look;

use crate::cloud::Cloud;
use crate::executor::Bell;
use crate::invocation::Invocation;
use crate::latencies::evenly;
use crate::prover::Attempt;
use crate::usage::{Step, Usage};

const STEPS_US: u64 = WORKER_STEPS_MS * 1_000;
const ERROR_PAUSE_US: u64 = SLOT_PAUSE_MS * 1_000;
const SPOT_GRACE_US: u64 = SPOT_GRACE_MS * 1_000;

/// A machine of a pool.
#[derive(Clone)]
pub(crate) struct Place {
    pub pool_name: String,
    pub pool: Pool,
    pub slots: u32,
    /// It takes a result's next steps itself.
    pub advances: bool,
}

pub(crate) struct Machine {
    pub place: Place,
    pub id: WorkerId,
    bell: Rc<Bell>,
    /// Rings when an attempt may have become obsolete.
    pub cancels: Bell,
    pub obsolete: RefCell<HashSet<String>>,
    /// When AWS tells that it takes the machine back: nothing is claimed from then on.
    reclaimed_us: u64,
    /// Artifacts that are here.
    pub here: RefCell<HashSet<String>>,
    slots_running: Cell<u32>,
}

impl Machine {
    /// Attempts that still run then are given up.
    pub fn gives_up_us(&self) -> u64 {
        self.reclaimed_us.saturating_add(SPOT_GRACE_US)
    }

    fn is_reclaimed(&self, cloud: &Cloud) -> bool {
        cloud.now_us() >= self.reclaimed_us
    }
}

/// A machine, and those that follow it when it is taken back.
pub(crate) async fn run_machines(cloud: Rc<Cloud>, place: Place) {
    // Machines already run at time 0: their heartbeats are spread over a third of the lease.
    let spread_us = cloud.random.borrow_mut().below(place.pool.lease_ms / 3 * 1_000);
    cloud.executor.sleep_us(spread_us).await;
    loop {
        if let Err(error) = run_machine(&cloud, &place).await {
            cloud.note("a worker's start", &error);
        }
        cloud.wait(|all| &all.batch_start, 1).await;
    }
}

/// Until it is taken back.
async fn run_machine(cloud: &Rc<Cloud>, place: &Place) -> Result<(), Error> {
    let random = cloud.random.borrow_mut().number();
    let machine = Rc::new(Machine {
        place: place.clone(),
        id: WorkerId::new("job", &place.pool_name, 1, random as u32),
        bell: Rc::default(),
        cancels: Bell::default(),
        obsolete: RefCell::default(),
        reclaimed_us: cloud.now_us().saturating_add(lives_us(cloud)),
        here: RefCell::default(),
        slots_running: Cell::new(place.slots),
    });
    register(cloud, &machine).await?;
    let pool = &cloud.wakes[&place.pool_name];
    pool.begin(&machine.bell);
    cloud.observed.borrow_mut().slots_come(&place.pool_name, place.slots, cloud.now_us());
    let (of, heart) = (Rc::clone(cloud), Rc::clone(&machine));
    cloud.executor.spawn(async move { keep_lease(&of, &heart).await });
    for slot in 0..place.slots {
        let (of, machine) = (Rc::clone(cloud), Rc::clone(&machine));
        cloud.executor.spawn(async move { run_slot(&of, &machine, slot).await });
    }
    while machine.slots_running.get() > 0 {
        machine.cancels.wait(machine.cancels.rung(), &cloud.executor, u64::MAX).await;
    }
    pool.end(&machine.bell);
    cloud.observed.borrow_mut().slots_go(&place.pool_name, place.slots, cloud.now_us());
    let invocation = Rc::new(Invocation::uncached(Step::WorkerStart));
    cloud.yard(&invocation).expire_worker(&machine.id, true).await?;
    invocation.deliver(cloud, None).await;
    invocation.end(cloud, Step::WorkerStart);
    Ok(())
}

/// Until the spot notice; for ever where none comes.
fn lives_us(cloud: &Cloud) -> u64 {
    let an_hour = cloud.latencies.spot_reclaims_an_hour.value;
    if an_hour <= 0.0 {
        return u64::MAX;
    }
    let hours = -evenly(&mut cloud.random.borrow_mut()).ln() / an_hour;
    (hours * 3.6e9) as u64
}

async fn register(cloud: &Rc<Cloud>, machine: &Machine) -> Result<(), Error> {
    let invocation = Rc::new(Invocation::uncached(Step::WorkerStart));
    let registration = WorkerRegistration {
        worker: machine.id.clone(),
        pool: machine.place.pool_name.clone(),
        slots: machine.place.slots,
        alone: false,
        lease_ms: machine.place.pool.lease_ms,
        isolation: Some("users".to_owned()),
    };
    cloud.yard(&invocation).register_worker(&registration).await?;
    invocation.end(cloud, Step::WorkerStart);
    Ok(())
}

async fn keep_lease(cloud: &Rc<Cloud>, machine: &Machine) {
    let lease_ms = machine.place.pool.lease_ms;
    while machine.slots_running.get() > 0 {
        cloud.executor.sleep_us((lease_ms / 3).max(1) * 1_000).await;
        let invocation = Rc::new(Invocation::uncached(Step::Heartbeat));
        match cloud.yard(&invocation).heartbeat(&machine.id, lease_ms).await {
            Ok(obsolete) if obsolete.is_empty() => {}
            Ok(obsolete) => {
                machine.obsolete.borrow_mut().extend(obsolete.into_iter().map(|attempt| attempt.claim));
                machine.cancels.ring(&cloud.executor);
            }
            Err(error) => cloud.note("a heartbeat", &error),
        }
        invocation.end(cloud, Step::Heartbeat);
    }
}

enum Turn {
    Worked,
    Released,
    Idle,
}

async fn run_slot(cloud: &Rc<Cloud>, machine: &Rc<Machine>, slot: u32) {
    let look = idle_look(Some(cloud.pipeline.chain.tick_ms));
    let look_us = u64::try_from(look.as_micros()).unwrap_or(u64::MAX);
    while !machine.is_reclaimed(cloud) {
        let rung = machine.bell.rung();
        match turn(cloud, machine, slot).await {
            Ok(Turn::Worked | Turn::Released) => {}
            Ok(Turn::Idle) => {
                let until_us = (cloud.now_us() + look_us).min(machine.reclaimed_us);
                machine.bell.wait(rung, &cloud.executor, until_us).await;
            }
            Err(error) => {
                cloud.note("a slot", &error);
                cloud.executor.sleep_us(ERROR_PAUSE_US).await;
            }
        }
    }
    machine.slots_running.set(machine.slots_running.get() - 1);
    machine.cancels.ring(&cloud.executor);
}

/// What a look for a task costs where none is listed, as it was when it was last made.
#[derive(Clone, Copy)]
pub(crate) struct EmptyLook {
    usage: Usage,
    took_us: u64,
}

/// Optimisation: an idle poll is charged from a remembered cost instead of running the claim.
async fn empty_look(cloud: &Rc<Cloud>, machine: &Machine) -> bool {
    let pool = &machine.place.pool_name;
    let Some(look) = cloud.empty_looks.borrow().get(pool).copied() else { return false };
    let listed = Range::all(Listing::partition(pool, &cloud.pipeline.chain.name), 1);
    if !cloud.table.borrow().is_empty(&listed) {
        return false;
    }
    cloud.account(Step::IdleLook, look.usage);
    cloud.executor.sleep_us(look.took_us).await;
    cloud.table.borrow().is_empty(&listed)
}

/// One claim and the work on what was claimed: all of one invocation.
async fn turn(cloud: &Rc<Cloud>, machine: &Rc<Machine>, slot: u32) -> Result<Turn, Error> {
    if empty_look(cloud, machine).await {
        return Ok(Turn::Idle);
    }
    let began_us = cloud.now_us();
    let invocation = Rc::new(Invocation::begin(Step::Worker));
    let yard = cloud.yard(&invocation);
    let claim = format!("{:016x}{:016x}", yard.port.random(), yard.port.random());
    let request = ClaimRequest { worker: machine.id.clone(), slot, claim };
    let outcome = yard.claim(&request).await;
    if !matches!(outcome, Ok(ClaimOutcome::Claimed(_))) {
        invocation.end(cloud, Step::IdleLook);
    }
    match outcome? {
        ClaimOutcome::Claimed(task) => {
            let worked = work(cloud, machine, &invocation, &request, *task).await;
            invocation.end(cloud, Step::Worker);
            worked.map(|()| Turn::Worked)
        }
        ClaimOutcome::SlotHolds(held) => {
            yard.record_release(&request.worker, slot, &held.claim, &held.task).await?;
            Ok(Turn::Released)
        }
        ClaimOutcome::Nothing => {
            let look = EmptyLook { usage: *invocation.usage.borrow(), took_us: cloud.now_us() - began_us };
            cloud.empty_looks.borrow_mut().entry(machine.place.pool_name.clone()).or_insert(look);
            Ok(Turn::Idle)
        }
        ClaimOutcome::Quarantined { .. } => Ok(Turn::Idle),
    }
}

async fn work(
    cloud: &Rc<Cloud>,
    machine: &Rc<Machine>,
    invocation: &Rc<Invocation>,
    request: &ClaimRequest,
    task: Task,
) -> Result<(), Error> {
    let scope = task.id().scope.clone();
    attempt(cloud, machine, invocation, request, task).await?;
    invocation.outbox.put([Wake::Scope { scope }]);
    if !machine.place.advances {
        invocation.deliver(cloud, None).await;
        return Ok(());
    }
    let until_us = cloud.now_us() + STEPS_US;
    let taken = invocation.take_steps_until(cloud, None, until_us).await;
    machine.bell.ring(&cloud.executor);
    if let Err(error) = taken {
        // The scope stays due: the sweeper retries.
        cloud.note("a worker's steps", &error);
    }
    Ok(())
}

async fn attempt(
    cloud: &Rc<Cloud>,
    machine: &Rc<Machine>,
    invocation: &Rc<Invocation>,
    request: &ClaimRequest,
    task: Task,
) -> Result<(), Error> {
    let (yard, pool) = (cloud.yard(invocation), &machine.place.pool_name);
    let seen = cloud.observed.borrow_mut().claimed(task.id(), pool, cloud.now_us());
    let performed = async {
        let assignment = yard.assignment(request, task).await?;
        let mut attempt = Attempt::new(cloud, machine, invocation, seen);
        let performed = yard.perform(&mut attempt, &assignment).await?;
        Ok::<_, Error>((performed, attempt.seen))
    };
    let performed = performed.await;
    cloud.observed.borrow_mut().free(pool, cloud.now_us());
    let (performed, seen) = performed?;
    match performed {
        Performed::Recorded(_) => {
            cloud.observed.borrow_mut().accepted(seen, cloud.now_us());
            Ok(())
        }
        Performed::Failed { message, .. } => {
            cloud.failed.borrow_mut().get_or_insert(message);
            Ok(())
        }
        Performed::Released | Performed::HostFault { .. } => Ok(()),
    }
}
