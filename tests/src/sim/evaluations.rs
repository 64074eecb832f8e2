//! What simulated lanes do themselves: they choose cases, compute values, and write down what failed.

use super::Cluster;
use super::lane::{Describing, Evaluating};
use crate::functions::{Datum, choose, evaluate};
use crate::reference::{error_text, returned_kinds};
use crate::trace::Ending;
use engine::core::{Describe, Evaluate, Evaluated, Incoming, Part};
use engine::plan::{ErrorClass, NodeId};

impl Cluster {
    /// A core wants a node evaluated.
    pub(super) fn begin_evaluation(&mut self, lane: usize, wanted: &Evaluate) {
        let invocation = self.lanes[lane].core.invocation_of(wanted.ticket);
        let inputs = self.lanes[lane].inputs_evaluated(wanted);
        match invocation {
            Some(_) => self.sees_evaluation(lane, wanted, &inputs),
            None => self.lanes[lane].reads_unseen(),
        }
        let seen = self.lanes[lane].read_inputs(&inputs);
        let items = self.lanes[lane].core.evaluated_items(wanted.ticket);
        let mut items: Vec<u32> = items.collect();
        items.reverse();
        let now = self.now();
        let deployment = self.deployment(wanted.deployment);
        let node = self.scenario.deployments[deployment].written(wanted.node);
        if let Some(id) = invocation {
            let asked = &mut self.asked[self.by_id[&id]];
            assert_eq!(deployment, asked.deployment, "it leaves its placement");
            assert!(
                !asked.forgotten.contains_key(&lane),
                "evaluated at lane {lane}, where its invocation is over"
            );
            let activation = (node, items.clone());
            match wanted.part() {
                Part::Work => asked.trace.starts(activation, 1, now, seen.clone()),
                Part::Delay => asked.trace.delay_starts(activation, now, seen.clone()),
            }
        }
        self.lanes[lane].evaluating.push(Evaluating {
            ticket: wanted.ticket,
            planned: wanted.node,
            invocation,
            node,
            items,
            deployment,
            part: wanted.part(),
            seen,
        });
        self.judge_choice(lane, wanted, &inputs);
    }

    /// A lane has evaluated a node.
    pub(super) fn end_evaluation(&mut self, lane: usize, index: usize) {
        if self.lanes[lane].evaluating[index].part == Part::Delay {
            let evaluating = self.lanes[lane].evaluating.swap_remove(index);
            return self.end_delay(lane, evaluating);
        }
        self.evaluate_now(lane, index);
        self.act(lane);
    }

    /// A lane evaluates what a node does: the case, if it chooses one.
    pub(super) fn evaluate_now(&mut self, lane: usize, index: usize) -> Option<u16> {
        let Evaluating {
            ticket,
            invocation,
            node,
            items,
            deployment,
            seen,
            ..
        } = self.lanes[lane].evaluating.swap_remove(index);
        let (evaluated, ending) = self.evaluated(lane, deployment, node, &seen);
        let now = self.now();
        if let Some(id) = invocation {
            let asked = &mut self.asked[self.by_id[&id]];
            asked.trace.ends((node, items), 1, now, ending);
        }
        let now_ns = self.lanes[lane].event_ns(self.now_ns);
        let workflow = &self.scenario.deployments[deployment].workflow;
        let cases = workflow.nodes[node as usize].work.cases();
        let evaluated = self.evaluation_taken(evaluated, cases);
        let case = match evaluated {
            Evaluated::Case(case) => case,
            _ => None,
        };
        self.lanes[lane].core.evaluated(now_ns, ticket, evaluated);
        case
    }

    fn evaluated(
        &mut self,
        lane: usize,
        deployment: usize,
        node: NodeId,
        seen: &[Datum],
    ) -> (Evaluated, Ending) {
        let faults = self.scenario.faults;
        let workflow = &self.scenario.deployments[deployment].workflow;
        let (plan, salt) = (&workflow.nodes[node as usize], workflow.salt);
        let cases = plan.work.cases();
        if self.random.chance(faults.failures) {
            let failed = |cause: &str| Ending::Failed(ErrorClass::Expression, cause.to_owned());
            return match cases > 0 && self.random.chance(500) {
                true => (Evaluated::Case(None), failed("no case holds")),
                false => (
                    Evaluated::Failed("there is no such key".into()),
                    failed("there is no such key"),
                ),
            };
        }
        if cases > 0 {
            let case = choose(salt, node, seen, cases);
            return (Evaluated::Case(Some(case)), Ending::Well);
        }
        let made = evaluate(salt, node, seen, &returned_kinds(plan));
        let mut ending = Ending::Well;
        let mut values = Vec::new();
        for datum in made {
            if ending == Ending::Well && self.random.chance(faults.refused_payloads) {
                let cause = "the arena is full".to_owned();
                values.push(Incoming::Refused(cause.clone()));
                ending = Ending::Failed(ErrorClass::Memory, cause);
            } else {
                values.push(self.lanes[lane].arrived(&datum));
            }
        }
        (Evaluated::Values(values), ending)
    }

    /// A core wants to have it written down what failed.
    ///
    /// # Panics
    /// If that is not what consumers are to read.
    pub(super) fn begin_description(&mut self, lane: usize, wanted: &Describe) {
        let text: serde_json::Value = serde_json::from_str(&wanted.text).expect("JSON");
        let field = |name: &str| text[name].as_str().expect("text").to_owned();
        let node = field("node").strip_prefix('n').map(str::parse::<NodeId>);
        let class = ErrorClass::ALL
            .into_iter()
            .find(|class| class.name() == field("class"));
        let attempt = text["attempt"].as_u64().and_then(|n| u32::try_from(n).ok());
        let (Some(Ok(node)), Some(class), Some(attempt)) = (node, class, attempt) else {
            panic!("not what a failure is described with: {text}");
        };
        assert_eq!(text.as_object().map(serde_json::Map::len), Some(4));
        let invocation = self.lanes[lane].core.invocation_of(wanted.ticket);
        self.lanes[lane].describing.push(Describing {
            ticket: wanted.ticket,
            invocation,
            text: error_text(node, class, &field("cause"), attempt),
        });
    }

    /// A lane has written down what failed.
    pub(super) fn end_description(&mut self, lane: usize, index: usize) {
        let Describing {
            ticket,
            invocation,
            text,
        } = self.lanes[lane].describing.swap_remove(index);
        let refused = self.random.chance(self.scenario.faults.refused_payloads);
        let text = match (refused, invocation) {
            (true, Some(id)) => {
                self.asked[self.by_id[&id]].payload_refused = true;
                Incoming::Refused("the arena is full".into())
            }
            _ => self.lanes[lane].arrived(&Datum::One(text)),
        };
        let now_ns = self.lanes[lane].event_ns(self.now_ns);
        self.lanes[lane].core.described(now_ns, ticket, text);
        self.act(lane);
    }
}
