//! Virtual time: a clock that jumps to the next deadline, and an executor that is polled by hand.

use super::FarEnd;
use holdline_esp::{Clock, Instant};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// How many polls are too many for one instant: somebody spins.
const POLLS_MAX: u32 = 200_000;

#[derive(Clone, Default)]
pub struct Time {
    now: Rc<Cell<u64>>,
    timers: Rc<RefCell<Vec<(u64, Waker)>>>,
}

impl Time {
    pub fn ms(&self) -> u64 {
        self.now.get()
    }

    fn next(&self) -> Option<u64> {
        self.timers.borrow().iter().map(|timer| timer.0).min()
    }

    fn advance(&self, to: u64) {
        self.now.set(self.now.get().max(to));
        let now = self.now.get();
        self.timers.borrow_mut().retain(|(at, waker)| {
            if *at <= now {
                waker.wake_by_ref();
            }
            *at > now
        });
    }

    pub async fn sleep(&self, ms: u64) {
        let at = Instant::from_millis(self.ms() + ms);
        self.wait_until(at).await;
    }
}

impl Clock for Time {
    fn now(&self) -> Instant {
        Instant::from_millis(self.ms())
    }

    async fn wait_until(&self, at: Instant) {
        let at = at.as_millis();
        poll_fn(|cx| {
            if at <= self.ms() {
                return Poll::Ready(());
            }
            let mut timers = self.timers.borrow_mut();
            // One that waits for long is polled often.
            if !timers.iter().any(|(known, waker)| *known == at && waker.will_wake(cx.waker())) {
                timers.push((at, cx.waker().clone()));
            }
            Poll::Pending
        })
        .await;
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Task<'t> = Pin<Box<dyn Future<Output = ()> + 't>>;

/// Tasks, in the order in which they are polled.
pub struct Tasks<'t> {
    tasks: Vec<(Option<Task<'t>>, Arc<Flag>)>,
    time: Time,
}

impl<'t> Tasks<'t> {
    pub fn new(time: &Time) -> Self {
        Self { tasks: Vec::new(), time: time.clone() }
    }

    pub fn spawn(&mut self, task: impl Future<Output = ()> + 't) {
        self.tasks.push((Some(Box::pin(task)), Arc::new(Flag(AtomicBool::new(true)))));
    }

    fn poll_woken(&mut self) -> bool {
        let mut polled = false;
        for (task, flag) in &mut self.tasks {
            if let Some(future) = task
                && flag.0.swap(false, Ordering::Relaxed)
            {
                polled = true;
                if future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(flag)))).is_ready() {
                    *task = None;
                }
            }
        }
        polled
    }

    /// Runs until `done`, or fails when virtual time is up.
    #[track_caller]
    pub fn run<P: FarEnd>(&mut self, peer: &RefCell<P>, limit_ms: u64, mut done: impl FnMut(&mut P) -> bool) {
        let end = self.time.ms() + limit_ms;
        let mut polls = 0;
        loop {
            let moved = self.poll_woken() | peer.borrow_mut().step(self.time.now());
            if done(&mut peer.borrow_mut()) {
                return;
            }
            if moved {
                polls += 1;
                assert!(polls < POLLS_MAX, "somebody spins at {} ms", self.time.ms());
                continue;
            }
            let next = [self.time.next(), peer.borrow().deadline()].into_iter().flatten().min();
            let next = next.expect("nothing will ever happen again");
            assert!(next <= end, "not done in {limit_ms} ms");
            if next > self.time.ms() {
                polls = 0;
            }
            polls += 1;
            assert!(polls < POLLS_MAX, "a deadline that never passes, at {} ms", self.time.ms());
            self.time.advance(next);
        }
    }
}

/// Drops the future when it has been polled so often.
pub async fn for_polls<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        let polled = future.as_mut().poll(cx).map(Some);
        if polled.is_pending() && left == 0 {
            cx.waker().wake_by_ref();
        }
        polled
    })
    .await
}

/// Is ready when it is polled for the second time, which it asks for.
pub async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
