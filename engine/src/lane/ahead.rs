//! Requests that are written before they are ordered.
//!
//! While an activation runs, the lane asks the core what its end will start ([`Core::foresee`]) and writes that request
//! into private memory, all but where the awaited outputs lie. When the completion is there and is what was expected,
//! these are filled in and the request is pushed at once: between the two stand a comparison and a copy. The core is
//! told after, and must then order just that start; anything unusual takes the ordinary way, which does the same, later.
//!
//! If a switch comes next, a request is prepared for each of its cases. It chooses as soon as the outputs are there that it
//! reads, and the core is answered so when it asks.

use super::Lane;
use super::evaluate::Evaluators;
use super::executors::{Executor, ExecutorError};
use super::segments::Segments;
use crate::core::{Core, Evaluate, ExecutorId, ForeseenInput, Next, Start};
use faasstore::binding::{Kind, VALUE_BYTES_MAX};
use faasstore::descriptor::{
    self, Activate, INPUTS_IN_PLACE_MAX, Message, OUTPUTS_IN_PLACE_MAX, OutputRef, PayloadRef,
};

/// Where the outputs of a completion lie.
pub(super) type Ranges = [PayloadRef; OUTPUTS_IN_PLACE_MAX];

/// So many cases of a switch are prepared for, at most.
const CASES_MAX: usize = 4;

/// What is prepared for the end of one executor's current activation. Kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Of the core, when this was prepared; void at any other.
    revision: u64,
    awaited: Option<Awaited>,
    next: Prepared,
    /// The switch that comes next, and what it reads, if one does: then `next` is not used.
    switch: Option<(Evaluate, Reads)>,
    /// By case of it.
    cases: Vec<Prepared>,
}

/// A request, but for where some of its inputs lie.
#[derive(Debug, Default)]
struct Prepared {
    start: Option<Start>,
    request: Message,
    /// By input of the request: which awaited output goes there.
    outputs: [Option<u8>; INPUTS_IN_PLACE_MAX],
}

/// What a foreseen node reads.
#[derive(Clone, Copy, Debug)]
struct Reads {
    inputs: [ForeseenInput; INPUTS_IN_PLACE_MAX],
    /// How many there are; they may be more than there is room for.
    count: usize,
}

impl Reads {
    const fn none() -> Self {
        Self {
            inputs: [ForeseenInput::Known(PayloadRef::ABSENT); INPUTS_IN_PLACE_MAX],
            count: 0,
        }
    }

    fn push(&mut self, input: ForeseenInput) {
        if let Some(place) = self.inputs.get_mut(self.count) {
            *place = input;
        }
        self.count += 1;
    }

    /// None if they are too many.
    fn all(&self) -> Option<&[ForeseenInput]> {
        self.inputs.get(..self.count)
    }
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    activation: u32,
    outputs: usize,
    /// The most bytes of each output.
    bytes_max: [u64; OUTPUTS_IN_PLACE_MAX],
}

impl Ahead {
    /// Whether this says what is known at this revision of the core, be it nothing.
    #[inline]
    pub(super) fn is_current(&self, revision: u64) -> bool {
        self.revision == revision
    }

    /// Prepares for the end of the activation that this executor runs. A request is prepared only if all that it names is
    /// known to its executor already: announcing is left to the ordinary way.
    pub(super) fn prepare(
        &mut self,
        id: ExecutorId,
        executors: &[Option<Executor>],
        core: &Core,
        segments: &Segments,
        evaluators: &Evaluators,
    ) {
        self.revision = core.revision();
        (self.awaited, self.switch, self.next.start) = (None, None, None);
        let mut reads = Reads::none();
        let foreseen = core.foresee(id, |input| reads.push(input));
        let Some(foreseen) = foreseen.filter(|f| f.outputs <= OUTPUTS_IN_PLACE_MAX) else {
            return;
        };
        let mut bytes_max = [u64::MAX; OUTPUTS_IN_PLACE_MAX];
        let declared = core.declared_outputs(id).into_iter().flatten();
        for (most, (kind, maximum)) in bytes_max.iter_mut().zip(declared) {
            *most = match kind {
                Kind::Value => maximum.bytes.min(VALUE_BYTES_MAX as u64),
                Kind::Bytes | Kind::List => maximum.bytes,
            };
        }
        self.awaited = Some(Awaited {
            activation: foreseen.activation,
            outputs: foreseen.outputs,
            bytes_max,
        });
        match foreseen.next {
            None => {}
            Some(Next::Start(start)) => {
                self.next.write(start, &reads, executors, core, segments);
            }
            Some(Next::Evaluate(evaluate)) => {
                let cases = evaluators
                    .cases(&evaluate)
                    .filter(|cases| *cases <= CASES_MAX);
                let Some(cases) = cases.filter(|_| reads.all().is_some()) else {
                    return;
                };
                self.cases
                    .resize_with(cases.max(self.cases.len()), Prepared::default);
                for (case, prepared) in (0..).zip(&mut self.cases[..cases]) {
                    prepared.start = None;
                    let mut reads = Reads::none();
                    let start = core.foresee_case(id, &evaluate, case, |input| reads.push(input));
                    if let Some(start) = start {
                        prepared.write(start, &reads, executors, core, segments);
                    }
                }
                self.switch = Some((evaluate, reads));
            }
        }
    }

    /// Whether the completion is the awaited one and nothing about it is out of the ordinary: then its activation, and
    /// where its outputs lie, as many as are said, in `ranges`.
    #[inline]
    pub(super) fn read(
        &self,
        revision: u64,
        completion: &Message,
        executor: &Executor,
        segments: &Segments,
        ranges: &mut Ranges,
    ) -> Option<(u32, usize)> {
        let Awaited {
            activation,
            outputs,
            bytes_max,
        } = self.awaited?;
        if self.revision != revision || !descriptor::is_plain_done(completion, activation, outputs)
        {
            return None;
        }
        for (index, range) in ranges[..outputs].iter_mut().enumerate() {
            let Ok(OutputRef::Own(own)) = descriptor::done_output(completion, index) else {
                return None;
            };
            if own.length > bytes_max[index] {
                return None;
            }
            *range = executor.plain_output(own, segments)?;
        }
        Some((activation, outputs))
    }
}

impl Prepared {
    fn write(
        &mut self,
        start: Start,
        reads: &Reads,
        executors: &[Option<Executor>],
        core: &Core,
        segments: &Segments,
    ) {
        self.outputs = [None; INPUTS_IN_PLACE_MAX];
        let Some(reads) = reads.all() else { return };
        let target = start.executor.0;
        let mut inputs = [PayloadRef::ABSENT; INPUTS_IN_PLACE_MAX];
        for (index, read) in reads.iter().enumerate() {
            match read {
                ForeseenInput::Output(output) => self.outputs[index] = Some(*output),
                ForeseenInput::Known(range) => {
                    if range.is_range() && !segments.is_told(range.segment, target) {
                        return;
                    }
                    inputs[index] = *range;
                }
            }
        }
        let alive = executors[target as usize]
            .as_ref()
            .is_some_and(|executor| executor.ended.is_none());
        if !alive {
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
            measure: core.measures(&start),
        };
        let inputs = &inputs[..reads.len()];
        descriptor::encode_activate(&mut self.request, &activate, inputs, false);
        self.start = Some(start);
    }

    /// The request, complete, where `ranges` are the awaited outputs: the core orders just this start.
    #[inline]
    fn take(&mut self, ranges: &[PayloadRef], segments: &Segments) -> Option<(Start, &Message)> {
        let start = self.start.take()?;
        for (input, output) in self.outputs.iter().enumerate() {
            if let Some(output) = output {
                let range = ranges.get(usize::from(*output))?;
                if !segments.is_told(range.segment, start.executor.0) {
                    return None;
                }
                descriptor::set_input(&mut self.request, input, *range);
            }
        }
        Some((start, &self.request))
    }
}

impl Lane {
    /// Prepares what the end of one activation that runs will start.
    #[inline]
    pub(super) fn prepare(&mut self) {
        let revision = self.core.revision();
        for place in &self.polled {
            let ahead = &mut self.ahead[*place as usize];
            if !ahead.is_current(revision) {
                ahead.prepare(
                    ExecutorId(*place),
                    &self.executors,
                    &self.core,
                    &self.segments,
                    &self.evaluators,
                );
                return;
            }
        }
        self.prepared_revision = revision;
    }

    /// Hands over what was prepared for the completion in `scratch`, whose outputs lie there.
    #[inline]
    pub(super) fn start_ahead(&mut self, place: u32, outputs: usize) -> Result<(), ExecutorError> {
        let ranges = &self.scratch.ranges[..outputs];
        let ahead = &mut self.ahead[place as usize];
        let next = match ahead.switch.take() {
            None => &mut ahead.next,
            Some((evaluate, reads)) => {
                let inputs = reads.all().unwrap_or_default().iter();
                let inputs = inputs.map(|input| match input {
                    ForeseenInput::Known(range) => Some(*range),
                    ForeseenInput::Output(output) => ranges.get(usize::from(*output)).copied(),
                });
                let case = self
                    .evaluators
                    .choose_ahead(&evaluate, inputs, &self.segments);
                let Some(next) = case.and_then(|case| ahead.cases.get_mut(usize::from(case)))
                else {
                    return Ok(());
                };
                self.chosen = case.map(|case| (evaluate.ticket, case));
                next
            }
        };
        let Some((start, request)) = next.take(ranges, &self.segments) else {
            return Ok(());
        };
        let Some(target) = self.executors[start.executor.0 as usize].as_mut() else {
            return Ok(());
        };
        // What it is to have back comes before what may need it.
        if target.has_backlog() {
            return Ok(());
        }
        match target.push(request) {
            Ok(()) => {
                target.started.channel.ring_bell();
                self.starts_ahead += 1;
                self.started_ahead = Some(start);
            }
            Err(error) if start.executor.0 == place => return Err(error),
            Err(error) => self.end_executor(start.executor.0, &error.to_string()),
        }
        Ok(())
    }
}
