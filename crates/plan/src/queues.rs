//! The queues. A FIFO queue hands the messages of a group to its function in order, one batch of a group at a time, groups
//! side by side. A pool's wake queue hands each token to one worker, whichever polls.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use proofyard_core::port::Wake;
use proofyard_core::state::Block;

use crate::cloud::Cloud;
use crate::executor::Bell;
use crate::functions::{self, Container};
use crate::invocation::Invocation;
use crate::usage::{Step, Usage};

/// As in infra/spec/yard.json.
const BATCH: usize = 10;
/// A message that failed for a passing reason is visible again after so long.
const RETRY_US: u64 = 1_000_000;
/// A function has 5 s, of which it leaves some for its sends.
const FUNCTION_US: u64 = 4_000_000;

pub(crate) enum Message {
    Block { block: Block, sent_ms: u64 },
    Wake(Wake),
}

#[derive(Default)]
pub(crate) struct FifoQueue {
    groups: RefCell<BTreeMap<String, Group>>,
}

#[derive(Default)]
struct Group {
    /// Each with when the mapping has it.
    messages: VecDeque<(u64, Message)>,
}

fn queue_of(cloud: &Cloud, step: Step) -> &FifoQueue {
    if step == Step::Dispatcher { &cloud.blocks } else { &cloud.results }
}

/// Puts a message on the queue of the function that takes this step; the sender has waited for that.
pub(crate) fn send(cloud: &Rc<Cloud>, step: Step, group: &str, message: Message) {
    let at_us = cloud.now_us() + cloud.draw_us(|all| &all.fifo_to_function, 1);
    let mut groups = queue_of(cloud, step).groups.borrow_mut();
    let is_idle = !groups.contains_key(group);
    groups.entry(group.to_owned()).or_default().messages.push_back((at_us, message));
    if is_idle {
        let (of, group) = (Rc::clone(cloud), group.to_owned());
        cloud.executor.spawn(async move { take_group(&of, step, &group).await });
    }
}

/// Takes a group's messages until there are none.
async fn take_group(cloud: &Rc<Cloud>, step: Step, group: &str) {
    loop {
        let next_us = {
            let mut groups = queue_of(cloud, step).groups.borrow_mut();
            match groups.get(group).and_then(|group| group.messages.front()) {
                Some((at_us, _)) => *at_us,
                None => {
                    groups.remove(group);
                    return;
                }
            }
        };
        cloud.executor.sleep_until_us(next_us).await;
        let batch = take_batch(cloud, step, group);
        functions::invoke(cloud, step, async |container| take_messages(cloud, step, container, batch).await)
            .await;
    }
}

fn take_batch(cloud: &Cloud, step: Step, group: &str) -> Vec<Message> {
    let now_us = cloud.now_us();
    let mut groups = queue_of(cloud, step).groups.borrow_mut();
    let Some(group) = groups.get_mut(group) else { return Vec::new() };
    let ready = group.messages.iter().take(BATCH).take_while(|(at_us, _)| *at_us <= now_us).count();
    group.messages.drain(..ready).map(|(_, message)| message).collect()
}

async fn take_messages(cloud: &Rc<Cloud>, step: Step, container: &Container, batch: Vec<Message>) {
    let until_us = cloud.now_us() + FUNCTION_US;
    // A receive and a delete.
    cloud.account(step, Usage { fifo_requests: 2, function_calls: 1, ..Usage::default() });
    for message in batch {
        loop {
            let invocation = Rc::new(Invocation::begin(step));
            let taken = match invocation.record(cloud, &message).await {
                Ok(()) => invocation.take_steps_until(cloud, Some(container), until_us).await,
                Err(error) => Err(error),
            };
            invocation.end(cloud, step);
            let Err(error) = taken else { break };
            cloud.note("a message", &error);
            if !error.passes() {
                break;
            }
            cloud.executor.sleep_us(RETRY_US).await;
        }
    }
}

/// Who of a pool polls for wakes.
#[derive(Default)]
pub(crate) struct WakeQueue {
    polling: RefCell<Vec<Rc<Bell>>>,
}

impl WakeQueue {
    pub fn begin(&self, bell: &Rc<Bell>) {
        self.polling.borrow_mut().push(Rc::clone(bell));
    }

    pub fn end(&self, bell: &Rc<Bell>) {
        self.polling.borrow_mut().retain(|other| !Rc::ptr_eq(other, bell));
    }

    pub fn workers(&self) -> usize {
        self.polling.borrow().len()
    }

    /// One worker has it, be it idle or not; where none is, it is lost.
    pub fn token(&self, cloud: &Rc<Cloud>) {
        let polling = self.polling.borrow();
        if polling.is_empty() {
            return;
        }
        let bell = Rc::clone(cloud.random.borrow_mut().pick(&polling));
        let us = cloud.draw_us(|all| &all.standard_to_worker, 1);
        // Its receive is one of the polls; it is deleted.
        cloud.account(Step::Polls, Usage { standard_requests: 1, ..Usage::default() });
        let of = Rc::clone(cloud);
        cloud.executor.spawn(async move {
            of.executor.sleep_us(us).await;
            bell.ring(&of.executor);
        });
    }
}
