//! One activation of a command.

use crate::exchange::{Ended, exchange};
use crate::guard::Guard;
use crate::sink::Sink;
use crate::words::Words;
use faasstore::binding::WORKER_PID_VARIABLE;
use faasstore::{Call, Context, Error};
use nix::sys::signal::Signal;
use std::io::ErrorKind;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Runs commands, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Runner {
    /// Started with the first program.
    guard: Option<Guard>,
}

impl Runner {
    /// Runs the node's command to its end.
    pub(crate) fn run(&mut self, call: &mut Call<'_>) -> Result<(), Error> {
        let context = call.context();
        context.check_cancelled()?;
        let mut words = Words::new(call)?;
        let mut sink = Sink::new(call)?;
        let mut child = self.spawn(&words, context)?;
        words.close();
        let program = &words.words[0];
        let ask_to_end = || {
            if let Some(guard) = &mut self.guard {
                guard.ask_to_end();
            }
        };
        let ended = exchange(
            &mut child,
            words.stdin.take(),
            &mut sink,
            context,
            ask_to_end,
        );
        let Ok(Ended {
            status,
            tail,
            lingers,
        }) = ended
        else {
            // What has no one to talk to is not left running.
            self.guard = None;
            let _ = child.wait();
            return ended.map(drop);
        };
        if lingers {
            self.guard = None;
        }
        if status.success() {
            return sink.finish();
        }
        Err(Error::new(failure(program, status, &tail)))
    }

    fn spawn(&mut self, words: &Words<'_>, context: &Context) -> Result<Child, Error> {
        let group = self.group()?;
        words.hand_down()?;
        let mut command = Command::new(&words.words[0]);
        command
            .args(&words.words[1..])
            .env_remove(WORKER_PID_VARIABLE)
            .env("FAASFLOW_WORKFLOW", context.workflow())
            .env("FAASFLOW_NODE", context.node())
            .env("FAASFLOW_INVOCATION", context.invocation().to_string())
            .env("FAASFLOW_ATTEMPT", context.attempt().to_string())
            .stdin(match words.stdin {
                Some(_) => Stdio::piped(),
                None => Stdio::null(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(group);
        if let Some(item) = context.item() {
            command.env("FAASFLOW_ITEM", item.to_string());
        }
        command.spawn().map_err(|error| {
            let program = &words.words[0];
            let reason = match error.kind() {
                ErrorKind::NotFound if program.contains('/') => {
                    "there is no such file on this worker".to_owned()
                }
                ErrorKind::NotFound => {
                    "there is no such program in the folders of PATH on this worker".to_owned()
                }
                ErrorKind::PermissionDenied => "it may not be executed".to_owned(),
                _ => error.to_string(),
            };
            Error::new(format!("{program} cannot be started: {reason}"))
        })
    }

    /// The group that programs are started in, with a guard that lives.
    fn group(&mut self) -> Result<i32, Error> {
        if let Some(group) = self.guard.as_mut().and_then(Guard::group) {
            return Ok(group);
        }
        let mut guard = Guard::start()
            .map_err(|error| Error::new(format!("no guard could be started: {error}")))?;
        let group = guard.group();
        self.guard = Some(guard);
        group.ok_or_else(|| Error::new("the guard ended as soon as it was started"))
    }
}

/// Begins with a name by which a node can say what it retries or catches: `exit-2`, `signal-9`.
fn failure(program: &str, status: ExitStatus, tail: &str) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit-{code}: {program} ended with status {code}"),
        (None, Some(signal)) => {
            let name = Signal::try_from(signal).map_or("no name", Signal::as_str);
            format!("signal-{signal}: {program} was ended by signal {signal} ({name})")
        }
        (None, None) => format!("{program} ended: {status}"),
    };
    if tail.is_empty() {
        how
    } else {
        format!("{how}: {tail}")
    }
}
