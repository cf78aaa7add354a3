//! A thread of the benchmark: its connections, and what they do.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mqtt_client_async::QoS;
use tokio::task::{JoinSet, LocalSet};

use super::flow::{Pace, Pair, Publisher, Responder, Subscriber, Template};
use super::link::Link;
use super::record::{Nanos, Recorder, SECOND, Shared};
use super::{Plan, Scenario, Target};
use crate::failure::{Failure, Outcome};

/// How long messages that were sent may be on their way when the time is over.
const DRAIN: Duration = Duration::from_secs(10);

/// Everything that was sent and received, whenever.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) expected: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.expected += other.expected;
    }
}

pub(super) fn run(thread: usize, plan: &Plan, target: &Arc<Target>, shared: &Arc<Shared>) -> Outcome<Totals> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let recorder = Rc::new(RefCell::new(Recorder::new(shared.clone())));
    let local = LocalSet::new();
    let worker = Worker { thread, plan, target: target.clone(), recorder };
    local.block_on(&runtime, async {
        match plan.scenario {
            Scenario::Conn => worker.connect().await,
            _ => worker.flow().await,
        }
    })
}

struct Worker<'p> {
    thread: usize,
    plan: &'p Plan,
    target: Arc<Target>,
    recorder: Rc<RefCell<Recorder>>,
}

impl Worker<'_> {
    /// This thread's share of so many.
    fn share(&self, count: usize) -> std::ops::Range<usize> {
        let at = |thread: usize| count * thread / self.plan.threads;
        at(self.thread)..at(self.thread + 1)
    }

    fn name(&self, what: &str, number: usize) -> String {
        format!("bench-{}-{what}{number}", std::process::id())
    }

    /// Connections one after the other, in as many tasks as there are clients.
    async fn connect(&self) -> Outcome<Totals> {
        let slots = self.share(self.plan.clients);
        let quota = self.plan.count.map_or(u64::MAX, |count| count / self.plan.clients.max(1) as u64);
        let mut tasks = JoinSet::new();
        for slot in slots {
            let (target, recorder) = (self.target.clone(), self.recorder.clone());
            let (name, stop) = (self.name("c", slot), self.plan.duration);
            tasks.spawn_local(async move {
                let mut done = 0;
                let now = || recorder.borrow().now();
                while done < quota && now() < stop {
                    let begin = now();
                    recorder.borrow_mut().sent(begin, 1);
                    let link = Link::open(&target, &name).await?;
                    let end = now();
                    recorder.borrow_mut().roll(end);
                    recorder.borrow_mut().received(begin, end);
                    link.close().await;
                    done += 1;
                }
                Ok::<u64, Failure>(done)
            });
        }
        let mut totals = Totals::default();
        while let Some(result) = tasks.join_next().await {
            let done = result.map_err(Failure::error)??;
            totals.add(&Totals { sent: done, received: done, expected: done });
        }
        Ok(totals)
    }

    fn pace(&self, publishers: usize, receivers: u64) -> Pace {
        Pace {
            window: self.plan.window,
            interval: self.plan.rate.map(|rate| (SECOND as f64 * publishers as f64 / rate) as Nanos),
            stop_at: self.plan.duration,
            quota: self.plan.count.unwrap_or(u64::MAX),
            receivers,
            version: self.target.version,
        }
    }

    /// Publishers, and who receives from them.
    async fn flow(&self) -> Outcome<Totals> {
        let plan = self.plan;
        let mut receivers = JoinSet::new();
        let mut publishers = JoinSet::new();
        let mut pairs = Vec::new();
        match plan.scenario {
            // A publisher's subscribers live on its thread.
            Scenario::Sub => {
                for number in self.share(plan.publishers) {
                    let pair = Rc::new(Pair::default());
                    let topic = format!("{}/{number}", plan.topic);
                    for subscriber in 0..plan.clients {
                        let name = self.name(&format!("s{number}-"), subscriber);
                        self.subscriber(&mut receivers, &name, &topic, &pair).await?;
                    }
                    let pace = self.pace(plan.publishers, plan.clients as u64);
                    self.publisher(&mut publishers, number, &topic, None, pace, &pair).await?;
                    pairs.push((pair, plan.clients as u64));
                }
            }
            _ => {
                for number in self.share(plan.clients) {
                    let pair = Rc::new(Pair::default());
                    let topic = format!("{}/{number}", plan.topic);
                    let answer = format!("{topic}/answer");
                    let receiver_count = u64::from(plan.scenario != Scenario::Pub);
                    let mut own = None;
                    match plan.scenario {
                        Scenario::Pipeline => {
                            let name = self.name("s", number);
                            self.subscriber(&mut receivers, &name, &topic, &pair).await?;
                        }
                        Scenario::Rr => {
                            self.responder(&mut receivers, number, &topic, &answer).await?;
                            own = Some(answer);
                        }
                        _ => {}
                    }
                    let pace = self.pace(plan.clients, receiver_count);
                    self.publisher(&mut publishers, number, &topic, own, pace, &pair).await?;
                    pairs.push((pair, receiver_count));
                }
            }
        }
        self.drive(publishers, receivers).await?;
        let mut totals = Totals::default();
        for (pair, receivers) in pairs {
            let (sent, received) = pair.counts();
            totals.add(&Totals { sent, received, expected: sent * receivers });
        }
        Ok(totals)
    }

    /// Until all publishers are done, or what they wait for does not come.
    async fn drive(&self, mut publishers: JoinSet<Outcome>, mut receivers: JoinSet<Outcome>) -> Outcome {
        let now = self.recorder.borrow().now();
        let patience = Duration::from_nanos(self.plan.duration.saturating_sub(now)).saturating_add(DRAIN);
        let deadline = tokio::time::sleep(patience.min(Duration::from_secs(1 << 30)));
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                done = publishers.join_next() => match done {
                    Some(done) => done.map_err(Failure::error)??,
                    None => break,
                },
                Some(ended) = receivers.join_next() => ended.map_err(Failure::error)??,
                // Lost messages are told, not waited for.
                () = &mut deadline => break,
            }
        }
        receivers.shutdown().await;
        publishers.shutdown().await;
        Ok(())
    }

    async fn subscriber(
        &self,
        tasks: &mut JoinSet<Outcome>,
        name: &str,
        topic: &str,
        pair: &Rc<Pair>,
    ) -> Outcome {
        let mut link = Link::open(&self.target, name).await?;
        link.subscribe(topic, self.plan.qos).await?;
        let recorder = self.recorder.clone();
        let mut role =
            Subscriber { pair: pair.clone(), recorder: recorder.clone(), version: self.target.version };
        tasks.spawn_local(async move { link.run(&mut role, || recorder.borrow().now()).await });
        Ok(())
    }

    async fn responder(
        &self,
        tasks: &mut JoinSet<Outcome>,
        number: usize,
        topic: &str,
        answer: &str,
    ) -> Outcome {
        let mut link = Link::open(&self.target, &self.name("r", number)).await?;
        link.subscribe(topic, self.plan.qos).await?;
        let recorder = self.recorder.clone();
        let template = self.template(answer)?;
        let mut role = Responder { template, recorder: recorder.clone(), version: self.target.version };
        tasks.spawn_local(async move { link.run(&mut role, || recorder.borrow().now()).await });
        Ok(())
    }

    fn template(&self, topic: &str) -> Outcome<Template> {
        let qos: QoS = self.plan.qos;
        Template::new(topic, qos, self.plan.size, self.target.version).map_err(Failure::error)
    }

    async fn publisher(
        &self,
        tasks: &mut JoinSet<Outcome>,
        number: usize,
        topic: &str,
        answers: Option<String>,
        pace: Pace,
        pair: &Rc<Pair>,
    ) -> Outcome {
        let mut link = Link::open(&self.target, &self.name("p", number)).await?;
        if let Some(answers) = answers {
            link.subscribe(&answers, self.plan.qos).await?;
        }
        let recorder = self.recorder.clone();
        let mut role = Publisher::new(self.template(topic)?, pace, pair.clone(), recorder.clone());
        tasks.spawn_local(async move { link.run(&mut role, || recorder.borrow().now()).await });
        Ok(())
    }
}
