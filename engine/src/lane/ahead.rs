//! Requests that are written before they are ordered.
//!
//! While an activation runs, the lane asks the core what its end will start ([`Core::foresee`]) and writes that request
//! into private memory, all but where the awaited outputs lie. When the completion is there and is what was expected,
//! these are filled in and the request is pushed at once: between the two stand a comparison and a copy. The core is
//! told after, and must then order just that start; anything unusual takes the ordinary way, which does the same, later.

use super::executors::Executor;
use super::segments::Segments;
use crate::core::{Core, ExecutorId, ForeseenInput, Start};
use faasstore::descriptor::{
    self, Activate, INPUTS_IN_PLACE_MAX, Message, OUTPUTS_IN_PLACE_MAX, OutputRef, PayloadRef,
};

/// What is prepared for the end of one executor's current activation. Kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Of the core, when this was prepared; void at any other.
    revision: u64,
    start: Option<Start>,
    /// The activation whose end is awaited, and how many outputs it declares.
    after: u32,
    outputs: usize,
    message: Message,
    /// By input: which output goes there.
    awaited: [Option<u8>; INPUTS_IN_PLACE_MAX],
}

impl Ahead {
    /// Whether this says what is known at this revision of the core, be it nothing.
    #[inline]
    pub(super) fn is_current(&self, revision: u64) -> bool {
        self.revision == revision
    }

    /// Prepares what the end of the activation that this executor runs will start, if that can be said. What it reads
    /// and is known already counts as told to who will read it: announcing is left to the ordinary way.
    pub(super) fn prepare(
        &mut self,
        id: ExecutorId,
        executors: &[Option<Executor>],
        core: &Core,
        segments: &Segments,
    ) {
        self.revision = core.revision();
        self.start = None;
        let mut inputs = [PayloadRef::ABSENT; INPUTS_IN_PLACE_MAX];
        let mut count = 0;
        self.awaited = [None; INPUTS_IN_PLACE_MAX];
        let foreseen = core.foresee(id, |input| {
            if let Some(place) = inputs.get_mut(count) {
                match input {
                    ForeseenInput::Known(range) => *place = range,
                    ForeseenInput::Output(output) => {
                        self.awaited[count] = Some(u8::try_from(output).unwrap_or(u8::MAX));
                    }
                }
            }
            count += 1;
        });
        let Some(foreseen) = foreseen else { return };
        let start = foreseen.start;
        let Some(inputs) = inputs.get(..count) else {
            return;
        };
        let target = start.executor.0;
        let told =
            |range: &PayloadRef| !range.is_range() || segments.is_told(range.segment, target);
        let alive = executors[target as usize]
            .as_ref()
            .is_some_and(|executor| executor.ended.is_none());
        if foreseen.outputs > OUTPUTS_IN_PLACE_MAX || !alive || !inputs.iter().all(told) {
            return;
        }
        let (node, invocation) = core.started_node(&start);
        let activate = Activate {
            node,
            attempt: start.attempt,
            invocation,
            activation: start.activation,
            item: start.item,
            deadline_ns: start.deadline_ns,
        };
        self.message = descriptor::encode_activate(&activate, inputs, false);
        self.after = foreseen.after;
        self.outputs = foreseen.outputs;
        self.start = Some(start);
    }

    /// The request, complete, if the executor's `completion` is the awaited one and nothing about it is out of the
    /// ordinary: then the core, told of it, orders just this start.
    #[inline]
    pub(super) fn take(
        &mut self,
        revision: u64,
        completion: &Message,
        executor: &Executor,
        segments: &Segments,
    ) -> Option<(Start, &Message)> {
        let start = self.start.take()?;
        if self.revision != revision
            || !descriptor::is_plain_done(completion, self.after, self.outputs)
        {
            return None;
        }
        let mut ranges = [PayloadRef::ABSENT; OUTPUTS_IN_PLACE_MAX];
        for (index, range) in ranges[..self.outputs].iter_mut().enumerate() {
            let Ok(OutputRef::Own(own)) = descriptor::done_output(completion, index) else {
                return None;
            };
            *range = executor.plain_output(own, segments)?;
            if !segments.is_told(range.segment, start.executor.0) {
                return None;
            }
        }
        for (input, output) in self.awaited.iter().enumerate() {
            if let Some(output) = output {
                let range = ranges.get(usize::from(*output))?;
                descriptor::set_input(&mut self.message, input, *range);
            }
        }
        Some((start, &self.message))
    }
}
