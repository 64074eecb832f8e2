//! How far a long run is, on the terminal of whoever waits for it: on standard error, never in a pipe or beside `--json`.
//!
//! A thread of its own draws, once a run has taken a second, so that what is measured pays two additions for each answer,
//! and nothing at all where nothing is shown.

use crate::arguments::Job;
use engine::worker::quantities::duration_text;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What takes less is not worth a word.
const QUIET: Duration = Duration::from_secs(1);
/// Time from one drawing to the next.
const REDRAW: Duration = Duration::from_millis(200);

/// A run under way. What is drawn of it is gone when this is dropped.
pub(crate) struct Progress(Option<Drawn>);

struct Drawn {
    counts: Arc<Counts>,
    /// Dropped when the run is over, which ends the thread.
    under_way: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    answers: AtomicU64,
    latency_ns: AtomicU64,
}

impl Progress {
    /// Of one invocation.
    pub(crate) fn of_one(workflow: &str, job: &Job) -> Self {
        let begun = Instant::now();
        let workflow = workflow.to_owned();
        Self::start(
            job.json,
            ProgressBar::new_spinner,
            "{spinner} {msg}",
            move |_| {
                let elapsed_ns = begun.elapsed().as_nanos() as u64;
                format!("{workflow} has run for {}", duration_text(elapsed_ns))
            },
        )
    }

    /// Of so many.
    pub(crate) fn of_many(count: u64, job: &Job) -> Self {
        let begun = Instant::now();
        let style = "{bar:32} {pos}/{len}: {msg}";
        Self::start(
            job.json,
            move || ProgressBar::new(count),
            style,
            move |counts| counts.text(begun.elapsed()),
        )
    }

    /// Of so many links that are measured one after the other.
    pub(crate) fn of_links(count: u64, json: bool) -> Self {
        Self::start(
            json,
            move || ProgressBar::new(count),
            "{bar:32} {pos}/{len}: {msg}",
            |_| "links are measured".to_owned(),
        )
    }

    fn start(
        json: bool,
        bar: impl FnOnce() -> ProgressBar + Send + 'static,
        style: &'static str,
        text: impl Fn(&Counts) -> String + Send + 'static,
    ) -> Self {
        if json || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let counts: Arc<Counts> = Arc::default();
        let (under_way, over) = mpsc::channel::<()>();
        let shown = Arc::clone(&counts);
        let thread = std::thread::spawn(move || {
            if over.recv_timeout(QUIET) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = bar();
            bar.set_draw_target(ProgressDrawTarget::hidden());
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            loop {
                bar.set_position(shown.answers.load(Ordering::Relaxed));
                bar.set_message(text(&shown));
                // Not before there is something to be said.
                if bar.is_hidden() {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                bar.tick();
                if over.recv_timeout(REDRAW) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            bar.finish_and_clear();
        });
        Self(Some(Drawn {
            counts,
            under_way: Some(under_way),
            thread: Some(thread),
        }))
    }

    /// One more answer.
    pub(crate) fn answered(&self, latency_ns: u64) {
        if let Some(drawn) = &self.0 {
            drawn.counts.answers.fetch_add(1, Ordering::Relaxed);
            drawn
                .counts
                .latency_ns
                .fetch_add(latency_ns, Ordering::Relaxed);
        }
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        drop(self.under_way.take());
        if let Some(thread) = self.thread.take() {
            // Should it have failed, then only a drawing is lost.
            let _ = thread.join();
        }
    }
}

impl Counts {
    /// Rate and latency so far.
    fn text(&self, elapsed: Duration) -> String {
        let answers = self.answers.load(Ordering::Relaxed);
        if answers == 0 {
            return format!(
                "no answer yet, after {}",
                duration_text(elapsed.as_nanos() as u64)
            );
        }
        let rate_per_s = answers as f64 / elapsed.as_secs_f64();
        let mean_ns = self.latency_ns.load(Ordering::Relaxed) / answers;
        format!(
            "{rate_per_s:.0} per second, mean latency {}",
            duration_text(mean_ns)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_latency_are_those_of_the_answers_so_far() {
        let counts = Counts::default();
        let text = counts.text(Duration::from_secs(2));
        assert_eq!(text, "no answer yet, after 2.00 s");
        counts.answers.store(10, Ordering::Relaxed);
        counts.latency_ns.store(25_000, Ordering::Relaxed);
        let text = counts.text(Duration::from_secs(2));
        assert_eq!(text, "5 per second, mean latency 2.50 µs");
    }
}
