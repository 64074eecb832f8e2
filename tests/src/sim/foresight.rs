//! What a core foresees is held to what it then orders.

use super::Cluster;
use super::lane::{InputAt, Lane};
use engine::core::{Evaluate, ExecutorId, ForeseenInput, Input, Next, Output, Part, Piece, Start};
use faasstore::descriptor::PayloadRef;

/// A start, and where its inputs lie.
type Foreseen = (Start, Vec<PayloadRef>);

/// What the core must order next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Foresight {
    /// A start.
    Start(Foreseen),
    /// That a switch is evaluated.
    Switch {
        evaluate: Evaluate,
        /// Where what it reads lies.
        inputs: Vec<PayloadRef>,
        /// By case: what must be ordered after that, as far as it can be said.
        cases: Vec<Option<Foreseen>>,
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

impl Lane {
    /// What the core will order when the activation of `executor` ends with these outputs, as far as it can say.
    fn foresee(
        &self,
        executor: ExecutorId,
        activation: u32,
        outputs: &[Output],
        cases: impl Fn(&Evaluate) -> usize,
    ) -> Option<Foresight> {
        let mut read = Vec::new();
        let foreseen = self.core.foresee(executor, |input| read.push(input))?;
        assert_eq!(foreseen.activation, activation);
        assert_eq!(foreseen.outputs, outputs.len());
        let inputs = |inputs: &[ForeseenInput]| places(inputs, outputs);
        match foreseen.next? {
            Next::Start(start) => Some(Foresight::Start((start, inputs(&read)?))),
            Next::Evaluate(evaluate) => {
                let case = |case| {
                    let mut read = Vec::new();
                    let core = &self.core;
                    let start =
                        core.foresee_case(executor, &evaluate, case, |input| read.push(input));
                    Some((start?, inputs(&read)?))
                };
                Some(Foresight::Switch {
                    cases: (0..cases(&evaluate) as u16).map(case).collect(),
                    inputs: inputs(&read)?,
                    evaluate,
                })
            }
        }
    }
}

impl Cluster {
    /// To be called before the core is told of a completion.
    pub(super) fn foresee(
        &self,
        lane: usize,
        id: ExecutorId,
        activation: u32,
        outputs: &[Output],
    ) -> Option<Foresight> {
        self.lanes[lane].foresee(id, activation, outputs, |evaluate| {
            let deployment = self.deployment(evaluate.deployment);
            let workflow = &self.scenario.deployments[deployment].workflow;
            workflow.nodes[evaluate.node as usize].work.cases()
        })
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
            Input::List(_) => panic!("a list was not foreseen"),
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
