//! The rules of a node: what it does, what it reads, when it starts, and what becomes of its failures.

use super::error::PlanError;
use super::rules::{Check, check_name, distinct, fits, in_range, index, unique};
use super::{
    ARGUMENTS_BYTES_MAX, ATTEMPTS_MAX, CASES_MAX, DELAYS_MAX, RETRIERS_MAX, Scope, expressions,
    parts,
};
use crate::plan::{ErrorMatch, Formula, Gate, InputPlan, Join, NodeId, NodePlan, Source, Work};
use faasstore::binding::Kind;

impl Scope<'_> {
    pub(super) fn check_node(&self, node: &NodePlan) -> Check {
        let place = || format!("node {:?}", node.name);
        check_name(place, "a node", &node.name)?;
        self.check_work(node)?;
        in_range(
            place,
            "number of inputs",
            node.all_inputs().count() as u64,
            0,
            u16::MAX.into(),
        )?;
        in_range(
            place,
            "number of outputs",
            node.outputs.len() as u64,
            0,
            u16::MAX.into(),
        )?;
        self.check_failures(node)?;
        if let Some(timeout_ms) = node.timeout_ms {
            in_range(place, "timeout_ms", timeout_ms.into(), 1, u32::MAX.into())?;
        }
        self.check_delays(node)?;
        self.check_inputs(node)?;
        expressions::check_expressions(node)?;
        unique(
            place,
            "output",
            node.outputs.iter().map(|output| output.name.as_str()),
        )?;
        distinct(place, "`after` node", &node.after)?;
        for &after in &node.after {
            self.check_producer(place, after, node.id)?;
        }
        self.check_start(node)?;
        self.check_remote_consumers(node)
    }

    fn check_work(&self, node: &NodePlan) -> Check {
        let place = || format!("node {:?}", node.name);
        let wrong = |reason| {
            Err(PlanError::Rule {
                place: place(),
                reason,
            })
        };
        let told = usize::from(node.error_output.is_some());
        let returned = node.outputs.len().saturating_sub(told);
        match &node.work {
            Work::Function {
                executable,
                function,
                arguments,
            } => {
                check_name(place, "a function", function)?;
                let executables = self.plan.executables.len();
                index(place, "executable", (*executable).into(), executables)?;
                let bytes: usize = arguments.iter().map(|word| word.len() + 1).sum();
                let most = ARGUMENTS_BYTES_MAX as u64;
                in_range(place, "bytes of arguments", bytes as u64, 0, most)?;
            }
            Work::Compute(formulas) => {
                if formulas.len() != returned {
                    return wrong("computes more or fewer outputs than it declares");
                }
                for (formula, output) in formulas.iter().zip(&node.outputs) {
                    let list = output.kind == Kind::List;
                    if matches!(formula, Formula::Range { .. }) && !list {
                        return wrong("a range gives a list");
                    }
                    if output.kind == Kind::Bytes {
                        return wrong("an expression gives a value, or a list of them");
                    }
                }
            }
            Work::Switch {
                conditions,
                default,
            } => {
                if returned > 0 {
                    return wrong("a switch has no outputs");
                }
                let cases = conditions.len() + usize::from(*default);
                in_range(place, "number of cases", cases as u64, 1, CASES_MAX)?;
            }
            Work::Nothing => {
                if returned > 0 {
                    return wrong("has outputs, but does nothing");
                }
            }
        }
        Ok(())
    }

    fn check_failures(&self, node: &NodePlan) -> Check {
        let place = || format!("node {:?}", node.name);
        let wrong = |reason| {
            Err(PlanError::Rule {
                place: place(),
                reason,
            })
        };
        let retriers = node.retriers.len() as u64;
        in_range(place, "number of retriers", retriers, 0, RETRIERS_MAX)?;
        for (number, retry) in (1..).zip(&node.retriers) {
            let place = || format!("node {:?}, retrier {number}", node.name);
            let attempts = u64::from(retry.attempts);
            in_range(place, "attempts", attempts, 1, ATTEMPTS_MAX.into())?;
            let factor = u64::from(retry.factor_percent);
            in_range(place, "factor_percent", factor, 100, 10_000)?;
            let jitter = u64::from(retry.jitter_percent);
            in_range(place, "jitter_percent", jitter, 0, 100)?;
            check_matches(place, &retry.on)?;
        }
        for catch in &node.catches {
            check_matches(place, catch)?;
        }
        let catches = node.catches.len() as u64;
        in_range(place, "number of catches", catches, 0, CASES_MAX)?;
        if let Some(output) = node.error_output {
            let last = node.outputs.last().map(|output| output.kind);
            if usize::from(output) + 1 != node.outputs.len() || last != Some(Kind::Value) {
                return wrong("what says what failed is its last output, and a value");
            }
            if node.catches.is_empty() {
                return wrong("says what failed, but catches nothing");
            }
        }
        Ok(())
    }

    /// Checks when it starts.
    fn check_start(&self, node: &NodePlan) -> Check {
        let place = || format!("node {:?}", node.name);
        let gates = node.gates.len() as u64;
        in_range(place, "number of gates", gates, 0, u16::MAX.into())?;
        distinct(place, "gate", &node.gates)?;
        for gate in &node.gates {
            let producer = self.check_producer(place, gate.node(), node.id)?;
            match *gate {
                Gate::Case { case, .. } => index(place, "case", case.into(), producer.cases)?,
                Gate::Catch { catch, .. } => index(place, "catch", catch.into(), producer.catches)?,
            }
        }
        if let Join::AtLeast(edges) = node.join {
            let error = |id: NodeId| self.nodes.get(&id)?.error_output;
            let flow = node.flow_edges(error).len() as u64;
            in_range(place, "join", edges.into(), 1, flow)?;
        }
        Ok(())
    }

    fn check_inputs(&self, node: &NodePlan) -> Check {
        let place = || format!("node {:?}", node.name);
        self.check_input_list(place, node, &node.inputs)?;
        let mine = self
            .plan
            .participants
            .iter()
            .find(|part| part.worker == self.plan.me);
        let list = node
            .region
            .map(|region| self.plan.regions[usize::from(region)].list);
        for source in node.reads().chain(list) {
            if let Source::Input(input) = source
                && !mine.is_some_and(|part| part.inputs.contains(&input))
            {
                let reason = "reads a workflow input that this worker is not listed to get";
                return Err(PlanError::Participants {
                    place: place(),
                    reason,
                });
            }
        }
        Ok(())
    }

    fn check_delays(&self, node: &NodePlan) -> Check {
        let place = || format!("node {:?}", node.name);
        let delays = node.delays.len() as u64;
        in_range(place, "number of delays", delays, 0, DELAYS_MAX)?;
        for (number, delay) in (1..).zip(&node.delays) {
            let place = || format!("node {:?}, delay {number}", node.name);
            if let Some(expression) = delay.expression() {
                self.check_input_list(place, node, &expression.inputs)?;
            }
        }
        Ok(())
    }

    /// Checks inputs of a node, or of one of its delays, at `within`.
    fn check_input_list(
        &self,
        within: impl Fn() -> String + Copy,
        node: &NodePlan,
        inputs: &[InputPlan],
    ) -> Check {
        let names = inputs.iter().map(|input| input.name.as_str());
        unique(within, "input", names)?;
        for input in inputs {
            let place = || format!("{}, input {:?}", within(), input.name);
            // In a workflow within another an optional input may be one that nobody gives.
            if input.sources.is_empty() && !input.optional {
                let reason = "comes from nowhere";
                return Err(PlanError::Rule {
                    place: place(),
                    reason,
                });
            }
            for &source in &input.sources {
                // What an item is only the list's producer knows, but it is no list.
                let gives = self.kind_of(place, source, Some(node))?;
                let gives = gives.or((input.kind == Kind::List).then_some(Kind::Bytes));
                gives.map_or(Ok(()), |gives| fits(place, input.kind, gives))?;
            }
            self.check_presence(place, input)?;
        }
        Ok(())
    }

    /// An input that the node needs must not rest on one that a client may leave out.
    fn check_presence(&self, place: impl Fn() -> String, input: &InputPlan) -> Check {
        let may_lack = |source: &Source| match *source {
            Source::Input(number) => {
                let given = &self.plan.inputs[usize::from(number)];
                given.optional && given.default.is_none()
            }
            Source::Output { .. }
            | Source::First { .. }
            | Source::Item { .. }
            | Source::Constant(_) => false,
        };
        if !input.optional && input.sources.iter().all(may_lack) {
            let reason = "is needed, but a client may leave out what it comes from";
            return Err(PlanError::Rule {
                place: place(),
                reason,
            });
        }
        Ok(())
    }

    fn check_remote_consumers(&self, node: &NodePlan) -> Check {
        let place = || format!("remote consumers of node {:?}", node.name);
        let workers: Vec<_> = node
            .remote_consumers
            .iter()
            .map(|consumer| consumer.worker)
            .collect();
        distinct(place, "worker", &workers)?;
        for consumer in &node.remote_consumers {
            index(
                place,
                "worker",
                consumer.worker.into(),
                self.plan.workers.len(),
            )?;
            if consumer.worker == self.plan.me {
                let reason = "this worker is no remote consumer of its own";
                return Err(PlanError::Participants {
                    place: place(),
                    reason,
                });
            }
            self.check_takes_part(place, consumer.worker)?;
            distinct(place, "output", &consumer.outputs)?;
            parts::check_sections(place, &consumer.sections, &consumer.outputs)?;
            for &output in &consumer.outputs {
                index(place, "output", output.into(), node.outputs.len())?;
            }
        }
        Ok(())
    }
}

fn check_matches(place: impl Fn() -> String, these: &[ErrorMatch]) -> Check {
    for one in these {
        if let ErrorMatch::Named(name) = one {
            check_name(&place, "an error", name)?;
        }
    }
    Ok(())
}
