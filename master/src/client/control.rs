//! The master's connection to a worker: one request, one reply, in turn.

use super::connection::{Connection, FrameError, Receiver};
use super::{ClientError, Options};
use engine::wire::{
    Control, ControlReply, Deployed, FrameKind, ProfilePage, Role, WireError, WorkerDescription,
    decode, encode,
};
use std::time::Duration;

/// Longest silence of a worker that owes a reply to the master, if the caller sets none: starting the executors of a
/// plan takes seconds at most.
const CONTROL_SILENCE_MAX: Duration = Duration::from_secs(60);

/// A connection that deploys and asks.
#[derive(Debug)]
pub struct ControlClient {
    connection: Connection,
}

impl ControlClient {
    /// Connects to a worker at `HOST:PORT`.
    ///
    /// # Errors
    /// If it cannot be reached or the greeting fails.
    pub fn connect(address: &str, options: &Options) -> Result<Self, ClientError> {
        let options = Options {
            silence_max: options.silence_max.or(Some(CONTROL_SILENCE_MAX)),
            ..options.clone()
        };
        Ok(Self {
            connection: Connection::open(address, Role::Control, &options)?,
        })
    }

    /// The worker's name, as it has proved it.
    #[must_use]
    pub fn worker(&self) -> &str {
        self.connection.worker_name()
    }

    /// The worker's restart epoch, as it has proved it.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.connection.epoch()
    }

    /// Asks, and waits for the reply. A refusal is a reply.
    ///
    /// # Errors
    /// If the worker is lost, silent, or sends nonsense.
    pub fn request(&mut self, control: &Control) -> Result<ControlReply, ClientError> {
        let mut message = Vec::new();
        encode(control, &mut message);
        let mut reply = Reply(None);
        self.connection.send(&[&message], &mut reply)?;
        loop {
            if let Some(reply) = reply.0.take() {
                return Ok(reply);
            }
            self.connection.receive(&mut reply)?;
        }
    }

    /// What the worker has.
    ///
    /// # Errors
    /// As [`ControlClient::request`], or if the reply is none to that question.
    pub fn describe(&mut self) -> Result<WorkerDescription, ClientError> {
        match self.request(&Control::Describe)? {
            ControlReply::Description(description) => Ok(description),
            other => Err(self.off_the_point("describe", &other)),
        }
    }

    /// The worker's counters, as JSON.
    ///
    /// # Errors
    /// As [`ControlClient::request`], or if the reply is none to that question.
    pub fn status(&mut self) -> Result<serde_json::Value, ClientError> {
        match self.request(&Control::Status)? {
            ControlReply::Status(json) => {
                serde_json::from_str(&json).map_err(|error| ClientError::Protocol {
                    worker: self.connection.label().to_owned(),
                    what: format!("its status is not JSON: {error}"),
                })
            }
            other => Err(self.off_the_point("status", &other)),
        }
    }

    /// What is deployed under a name in a placement, counted from 1; none if nothing is.
    ///
    /// # Errors
    /// As [`ControlClient::request`], or if the reply is none to that question.
    pub fn deployed(
        &mut self,
        workflow: &str,
        placement: u16,
    ) -> Result<Option<Deployed>, ClientError> {
        let request = Control::Deployed {
            workflow: workflow.to_owned(),
            placement,
        };
        match self.request(&request)? {
            ControlReply::Deployed(deployed) => Ok(Some(deployed)),
            ControlReply::Refused(_) => Ok(None),
            other => Err(self.off_the_point("deployed", &other)),
        }
    }

    /// What was measured of some nodes of a workflow in a placement, counted from 1: of those from 0 on, or from what the last
    /// page said is next.
    ///
    /// # Errors
    /// As [`ControlClient::request`], or if the reply is none to that question; a refusal, too.
    pub fn profile(
        &mut self,
        workflow: &str,
        placement: u16,
        from: u32,
    ) -> Result<ProfilePage, ClientError> {
        let request = Control::Profile {
            workflow: workflow.to_owned(),
            placement,
            from,
        };
        match self.request(&request)? {
            ControlReply::Profile(page) => Ok(page),
            other => Err(self.off_the_point("profile", &other)),
        }
    }

    /// The error of a reply that answers another question.
    pub(crate) fn off_the_point(&self, asked: &str, reply: &ControlReply) -> ClientError {
        let what = match reply {
            ControlReply::Refused(reason) => format!("it refused `{asked}`: {reason}"),
            ControlReply::Done => format!("it answered `{asked}` with `done`"),
            ControlReply::Description(_) => format!("it answered `{asked}` with a description"),
            ControlReply::Status(_) => format!("it answered `{asked}` with a status"),
            ControlReply::Deployed(_) => format!("it answered `{asked}` with a deployment"),
            ControlReply::Profile(_) => format!("it answered `{asked}` with a profile"),
            ControlReply::Link(_) => format!("it answered `{asked}` with a link's figures"),
            ControlReply::Functions(functions) => {
                let count = functions.len();
                format!("it answered `{asked}` with the functions of {count} executables")
            }
        };
        ClientError::Protocol {
            worker: self.connection.label().to_owned(),
            what,
        }
    }
}

struct Reply(Option<ControlReply>);

impl Receiver for Reply {
    fn frame(&mut self, kind: FrameKind, body: &[u8]) -> Result<(), FrameError> {
        if kind != FrameKind::ControlReply || self.0.is_some() {
            return Err(WireError::Unexpected(kind).into());
        }
        self.0 = Some(decode(body)?);
        Ok(())
    }
}
