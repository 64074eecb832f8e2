//! What a core foresees is held to what it then orders.

use super::Cluster;
use super::lane::InputAt;
use engine::core::{
    Evaluate, ExecutorId, Foreseen, ForeseenInput, Input, Next, Output, Part, Piece, Start,
};
use faasstore::descriptor::PayloadRef;

/// A start, and where its inputs lie.
type Started = (Start, Vec<PayloadRef>);

/// What the core must order next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Foresight {
    /// A start.
    Start(Started),
    /// That a switch is evaluated.
    Switch {
        evaluate: Evaluate,
        /// Where what it reads lies.
        inputs: Vec<PayloadRef>,
        /// By case: what must be ordered after that, as far as it can be said.
        cases: Vec<Option<Started>>,
    },
}

/// Where inputs lie once the outputs are these; none if a lane takes the ordinary way then.
fn places(inputs: &[ForeseenInput], outputs: &[Output]) -> Option<Vec<PayloadRef>> {
    let place = |input: &ForeseenInput| match input {
        ForeseenInput::Known(range) => Some(*range),
        ForeseenInput::Output(output) => match outputs[usize::from(*output)] {
            Output::One(Piece::Own(range)) => Some(range),
            Output::One(Piece::Empty | Piece::Alias { .. }) | Output::List(_) => None,
        },
    };
    inputs.iter().map(place).collect()
}

/// What a lane prepares for the end of one activation: all but where its outputs lie.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Ahead {
    foreseen: Foreseen,
    inputs: Vec<ForeseenInput>,
    /// By case of the switch that comes next, if one does.
    cases: Vec<Option<(Start, Vec<ForeseenInput>)>>,
}

impl Ahead {
    /// What must be ordered when the activation ends with these outputs, as far as it can be said.
    fn with(&self, outputs: &[Output]) -> Option<Foresight> {
        assert_eq!(self.foreseen.outputs, outputs.len());
        let inputs = places(&self.inputs, outputs)?;
        let start = |case: &Option<(Start, Vec<ForeseenInput>)>| {
            let (start, inputs) = case.as_ref()?;
            Some((*start, places(inputs, outputs)?))
        };
        Some(match self.foreseen.next? {
            Next::Start(start) => Foresight::Start((start, inputs)),
            Next::Evaluate(evaluate) => Foresight::Switch {
                cases: self.cases.iter().map(start).collect(),
                inputs,
                evaluate,
            },
        })
    }
}

impl Cluster {
    /// What a core says of the end of what this executor runs.
    fn look_ahead(&self, lane: usize, id: ExecutorId) -> Option<Ahead> {
        let core = &self.lanes[lane].core;
        let mut inputs = Vec::new();
        let foreseen = core.foresee(id, |input| inputs.push(input))?;
        let cases = match &foreseen.next {
            Some(Next::Evaluate(evaluate)) => {
                let deployment = self.deployment(evaluate.deployment);
                let deployed = &self.scenario.deployments[deployment];
                let node = deployed.written(evaluate.node);
                let cases = deployed.workflow.nodes[node as usize].work.cases() as u16;
                let case = |case| {
                    let mut inputs = Vec::new();
                    let start = core.foresee_case(id, evaluate, case, |input| inputs.push(input));
                    Some((start?, inputs))
                };
                (0..cases).map(case).collect()
            }
            Some(Next::Start(_)) | None => Vec::new(),
        };
        Some(Ahead {
            foreseen,
            inputs,
            cases,
        })
    }

    /// A lane prepares for the end of something that runs on it.
    pub(super) fn prepare_somewhere(&mut self) {
        let lane = self.random.below(self.lanes.len());
        let running = (0..self.lanes[lane].executors.len())
            .filter(|place| self.running(lane, *place).is_some())
            .collect::<Vec<_>>();
        if running.is_empty() {
            return;
        }
        let id = ExecutorId(self.random.pick(&running) as u32);
        let ahead = self.look_ahead(lane, id);
        let revision = self.lanes[lane].core.revision();
        self.lanes[lane].prepared = Some((id, revision, ahead));
    }

    /// To be called before the core is told of a completion. What was prepared for it, and is not said to be void, holds.
    pub(super) fn foresee(
        &mut self,
        lane: usize,
        id: ExecutorId,
        activation: u32,
        outputs: &[Output],
    ) -> Option<Foresight> {
        let ahead = self.look_ahead(lane, id);
        let revision = self.lanes[lane].core.revision();
        let prepared = self.lanes[lane].prepared.take();
        if let Some((_, _, prepared)) = prepared.filter(|(of, at, _)| (*of, *at) == (id, revision))
        {
            assert_eq!(prepared, ahead, "prepared, and not said to be void");
            self.prepared += 1;
        }
        let ahead = ahead?;
        assert_eq!(ahead.foreseen.activation, activation);
        ahead.with(outputs)
    }

    /// What is started first is what was foreseen.
    pub(super) fn judge_foresight(&mut self, lane: usize, start: &Start) {
        let Some(foresight) = self.lanes[lane].foreseen.take() else {
            return;
        };
        let core = &self.lanes[lane].core;
        let started = core.started_node(start);
        let asked = &self.asked[self.by_id[&started.1]];
        let workflow = &self.scenario.deployments[asked.deployment].workflow;
        let mut inputs = Vec::new();
        core.inputs(start, |input| match input {
            Input::One(range) => inputs.push(range),
            Input::List(_) | Input::Windowed(..) => panic!("a list was not foreseen"),
        });
        assert_eq!(
            foresight,
            Foresight::Start((*start, inputs)),
            "something else was foreseen than {started:?}\n{workflow}\n{:?}",
            asked.trace
        );
        self.foreseen += 1;
    }

    /// A switch that was foreseen is evaluated at once, or, as any, later: what its case starts.
    pub(super) fn judge_choice(&mut self, lane: usize, wanted: &Evaluate, inputs: &[InputAt]) {
        let foreseen = &mut self.lanes[lane].foreseen;
        let switch = foreseen.take_if(|foresight| matches!(foresight, Foresight::Switch { .. }));
        let Some(Foresight::Switch {
            evaluate,
            inputs: read,
            cases,
        }) = switch
        else {
            return;
        };
        assert_eq!((wanted.part(), *wanted), (Part::Work, evaluate));
        let ranges = inputs.iter().map(|input| match input {
            InputAt::One(range) => *range,
            InputAt::List(_) => panic!("a list was not foreseen"),
        });
        assert_eq!(
            ranges.collect::<Vec<_>>(),
            read,
            "other inputs were foreseen"
        );
        if self.random.chance(300) {
            return;
        }
        let last = self.lanes[lane].evaluating.len() - 1;
        let case = self.evaluate_now(lane, last);
        let start = case.and_then(|case| cases.get(usize::from(case)).cloned().flatten());
        self.foreseen_choices += u64::from(start.is_some());
        self.lanes[lane].foreseen = start.map(Foresight::Start);
    }
}
