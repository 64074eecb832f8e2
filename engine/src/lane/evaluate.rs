//! What a lane does for nodes itself: it chooses the case of a switch, computes values, says how long a node waits, and
//! writes into its own arena what the core wants written.
//!
//! What expressions read is copied out of shared memory first, since its writer may still write there. How answers are written
//! is in `answers`.

mod answers;
#[cfg(test)]
mod tests;

pub(super) use answers::Unanswered;

use super::Lane;
use super::segments::Segments;
use crate::core::{Describe, Evaluate, Evaluated, Incoming, Input, Part};
use crate::delay::{shown, wait};
use crate::expression::{Expression, ExpressionError};
use crate::plan::{Constant, Delay, DeploymentId, Formula, NodeId, NodePlan, Plan, PortRef, Work};
use answers::{Computed, Of, refused};
use faasstore::binding::{Kind, Maximum, VALUE_BYTES_MAX};
use faasstore::descriptor::PayloadRef;
use rustc_hash::FxHashMap;
use serde_json::Value;
use std::ops::Range;
use std::time::SystemTime;

/// Longest list that an expression reads, in bytes of JSON.
const LIST_BYTES_MAX: usize = 16 * VALUE_BYTES_MAX;

/// So many inputs of one node are few.
const INPUTS_FEW: usize = 8;

/// Nodes' expressions, compiled, and what they read, copied.
#[derive(Default)]
pub(super) struct Evaluators {
    by_node: FxHashMap<(DeploymentId, NodeId), Evaluator>,
    delays_by_node: FxHashMap<(DeploymentId, NodeId), Delays>,
    copied: Vec<u8>,
    /// Where in `copied` each input lies; none if it is absent.
    inputs: Vec<Option<Range<usize>>>,
}

/// What one node evaluates.
enum Evaluator {
    Switch {
        conditions: Vec<Expression>,
        default: bool,
    },
    Compute {
        /// By output.
        formulas: Vec<(String, CompiledFormula, Maximum)>,
        items_max: u64,
    },
}

/// How long one node waits.
struct Delays {
    delays: Vec<Delay>,
    /// Those of the delays that are computed, in their order.
    expressions: Vec<Expression>,
}

enum CompiledFormula {
    Value(Expression),
    List(Expression),
    Range { from: Expression, to: Expression },
}

impl Computed {
    /// Itself, if it has no more than is declared.
    fn within(self, output: &str, maximum: Maximum) -> Result<Self, String> {
        let exceeded = match &self.items {
            None => maximum.exceeded(0, 0, self.bytes.len() as u64),
            Some(items) => {
                let mut items = (0..).zip(items);
                items.find_map(|(place, (offset, bytes))| maximum.exceeded(place, *offset, *bytes))
            }
        };
        match exceeded {
            None => Ok(self),
            Some(exceeded) => Err(format!(
                "output `{output}` of `compute` {exceeded}; declare more, or compute less"
            )),
        }
    }
}

impl Evaluators {
    /// Compiles what the nodes of a checked plan evaluate.
    ///
    /// # Errors
    /// What does not compile, which a checked plan does.
    fn know(&mut self, plan: &Plan) -> Result<(), String> {
        for node in &plan.nodes {
            if let Some(evaluator) = Evaluator::of(node, plan)? {
                self.by_node.insert((plan.deployment, node.id), evaluator);
            }
            if let Some(delays) = Delays::of(node)? {
                let key = (plan.deployment, node.id);
                self.delays_by_node.insert(key, delays);
            }
        }
        Ok(())
    }

    /// How many cases a node has, its default among them; none if it is no switch.
    pub(super) fn cases(&self, evaluate: &Evaluate) -> Option<usize> {
        match self.by_node.get(&(evaluate.deployment, evaluate.node))? {
            Evaluator::Switch {
                conditions,
                default,
            } => Some(conditions.len() + usize::from(*default)),
            Evaluator::Compute { .. } => None,
        }
    }

    /// The case that a switch chooses whose inputs lie there; none if it chooses none, or it cannot be said.
    pub(super) fn choose_ahead(
        &mut self,
        evaluate: &Evaluate,
        inputs: impl Iterator<Item = Option<PayloadRef>>,
        segments: &Segments,
    ) -> Option<u16> {
        self.begin();
        for range in inputs {
            self.copy(range?, segments).ok()?;
        }
        let mut few = [None; INPUTS_FEW];
        let mut many = Vec::new();
        let inputs = self.values(&mut few, &mut many);
        match self.by_node.get(&(evaluate.deployment, evaluate.node))? {
            Evaluator::Switch {
                conditions,
                default,
            } => match choose(conditions, *default, inputs) {
                Evaluated::Case(case) => case,
                _ => None,
            },
            Evaluator::Compute { .. } => None,
        }
    }

    /// Forgets what was copied.
    fn begin(&mut self) {
        self.copied.clear();
        self.inputs.clear();
    }

    /// Copies one more input, which is no list.
    fn copy(&mut self, range: PayloadRef, segments: &Segments) -> Result<(), String> {
        if range == PayloadRef::ABSENT {
            self.inputs.push(None);
            return Ok(());
        }
        let start = self.copied.len();
        let copied = copy_value(segments, range, &mut self.copied);
        self.inputs.push(Some(start..self.copied.len()));
        copied
    }

    /// Copies one more input, the items of a list.
    fn copy_items(
        &mut self,
        items: impl Iterator<Item = PayloadRef>,
        segments: &Segments,
    ) -> Result<(), String> {
        let start = self.copied.len();
        let copied = copy_list(segments, items, &mut self.copied);
        self.inputs.push(Some(start..self.copied.len()));
        copied
    }

    /// The bytes of each input that was copied: without a heap if there are few of them.
    fn values<'a, 'b>(
        &'a self,
        few: &'b mut [Option<&'a [u8]>; INPUTS_FEW],
        many: &'b mut Vec<Option<&'a [u8]>>,
    ) -> &'b [Option<&'a [u8]>] {
        let bytes = |range: &Option<Range<usize>>| range.clone().map(|range| &self.copied[range]);
        match few.get_mut(..self.inputs.len()) {
            Some(few) => {
                for (place, range) in few.iter_mut().zip(&self.inputs) {
                    *place = bytes(range);
                }
                few
            }
            None => {
                many.extend(self.inputs.iter().map(bytes));
                many
            }
        }
    }

    fn forget(&mut self, deployment: DeploymentId) {
        self.by_node.retain(|(of, _), _| *of != deployment);
        self.delays_by_node.retain(|(of, _), _| *of != deployment);
    }
}

impl Evaluator {
    fn of(node: &NodePlan, plan: &Plan) -> Result<Option<Self>, String> {
        let names: Vec<&str> = node
            .inputs
            .iter()
            .map(|input| input.name.as_str())
            .collect();
        let wrong = |error: ExpressionError| format!("node {}: {error}", node.name);
        let compile = |text: &str| Expression::compile(text, &names).map_err(wrong);
        Ok(match &node.work {
            Work::Function { .. } | Work::Nothing => None,
            Work::Switch {
                conditions,
                default,
            } => {
                let conditions = conditions
                    .iter()
                    .map(|text| Expression::compile_condition(text, &names).map_err(wrong));
                Some(Self::Switch {
                    conditions: conditions.collect::<Result<_, _>>()?,
                    default: *default,
                })
            }
            Work::Compute(formulas) => {
                let formulas = (0..).zip(formulas.iter().zip(&node.outputs));
                let formulas = formulas.map(|(place, (formula, output))| {
                    let formula = match formula {
                        Formula::Value(text) if output.kind == Kind::List => {
                            CompiledFormula::List(compile(text)?)
                        }
                        Formula::Value(text) => CompiledFormula::Value(compile(text)?),
                        Formula::Range { from, to } => CompiledFormula::Range {
                            from: compile(from)?,
                            to: compile(to)?,
                        },
                    };
                    let maximum = plan.maximum(PortRef::Written {
                        node: node.id,
                        output: place,
                    });
                    Ok((output.name.clone(), formula, maximum))
                });
                Some(Self::Compute {
                    formulas: formulas.collect::<Result<_, String>>()?,
                    items_max: u64::from(plan.limits.items_max),
                })
            }
        })
    }
}

impl Delays {
    fn of(node: &NodePlan) -> Result<Option<Self>, String> {
        let compiled = node.delays.iter().filter_map(Delay::compile);
        let expressions = compiled
            .map(|compiled| compiled.map_err(|error| format!("node {}: {error}", node.name)));
        let expressions: Vec<Expression> = expressions.collect::<Result<_, _>>()?;
        Ok((!expressions.is_empty()).then(|| Self {
            delays: node.delays.clone(),
            expressions,
        }))
    }

    /// How long it waits from now on; `inputs` are those of all delays, in their order.
    fn evaluate(&self, mut inputs: &[Option<&[u8]>]) -> Evaluated {
        let mut expressions = self.expressions.iter();
        let waits = wait(&self.delays, SystemTime::now(), |delay, key| {
            let (own, rest) = inputs.split_at(delay.inputs.len().min(inputs.len()));
            inputs = rest;
            let expression = expressions.next().ok_or("it does not compile")?;
            expression.evaluate(own).map_err(|error| error.at(key))
        });
        match waits {
            Ok(waits) => Evaluated::Waits {
                delay_ns: waits.as_nanos() as u64,
            },
            Err(cause) => Evaluated::Failed(cause),
        }
    }
}

impl CompiledFormula {
    /// The output of that name; what is wrong begins with where that is said.
    fn compute(
        &self,
        output: &str,
        inputs: &[Option<&[u8]>],
        items_max: u64,
    ) -> Result<Computed, String> {
        let whole = format!("output `{output}` of `compute`");
        let value = |expression: &Expression, place: &str| {
            let value = expression.evaluate(inputs);
            value.map_err(|error| error.at(place))
        };
        let of_output = |cause: String| format!("{whole}: {cause}");
        match self {
            Self::Value(expression) => Ok(Computed {
                bytes: json(&value(expression, &whole)?).map_err(of_output)?,
                items: None,
            }),
            Self::List(expression) => {
                let value = value(expression, &whole)?;
                let Value::Array(elements) = value else {
                    return Err(of_output(format!(
                        "it is to give a list, and gives {}",
                        shown(&value)
                    )));
                };
                let mut list = List::new(elements.len() as u64, items_max).map_err(of_output)?;
                for element in &elements {
                    list.push(&json(element).map_err(of_output)?);
                }
                Ok(list.done())
            }
            Self::Range { from, to } => {
                let bound = |expression, key: &str| {
                    let place = format!("`{key}` of output `{output}`");
                    let value = value(expression, &place)?;
                    value.as_i64().ok_or_else(|| {
                        format!(
                            "{place}: a range is of whole numbers, and this is {}",
                            shown(&value)
                        )
                    })
                };
                let (from, to) = (bound(from, "from")?, bound(to, "to")?);
                let count = i128::from(to) - i128::from(from);
                let count = u64::try_from(count).unwrap_or(0);
                let mut list = List::new(count, items_max).map_err(of_output)?;
                for number in from..to.max(from) {
                    list.push(number.to_string().as_bytes());
                }
                Ok(list.done())
            }
        }
    }
}

/// The case of a switch.
fn choose(conditions: &[Expression], default: bool, inputs: &[Option<&[u8]>]) -> Evaluated {
    for (case, condition) in (0..).zip(conditions) {
        match condition.holds(inputs) {
            Ok(true) => return Evaluated::Case(Some(case)),
            Ok(false) => {}
            Err(error) => {
                let place = format!("case {} of `switch`", case + 1);
                return Evaluated::Failed(error.at(place));
            }
        }
    }
    Evaluated::Case(default.then_some(conditions.len() as u16))
}

/// A list that is being written.
struct List {
    bytes: Vec<u8>,
    items: Vec<(u64, u64)>,
}

impl List {
    fn new(items: u64, items_max: u64) -> Result<Self, String> {
        if items > items_max {
            return Err(format!(
                "it gives a list of {items} items, above the limit of {items_max}"
            ));
        }
        Ok(Self {
            bytes: Vec::new(),
            items: Vec::with_capacity(items as usize),
        })
    }

    fn push(&mut self, item: &[u8]) {
        self.items
            .push((self.bytes.len() as u64, item.len() as u64));
        self.bytes.extend_from_slice(item);
    }

    fn done(self) -> Computed {
        Computed {
            bytes: self.bytes,
            items: Some(self.items),
        }
    }
}

fn json(value: &Value) -> Result<Vec<u8>, String> {
    let bytes = value.to_string().into_bytes();
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(format!(
            "it gives a value of {} bytes, above the limit of {VALUE_BYTES_MAX}",
            bytes.len()
        ));
    }
    Ok(bytes)
}

impl Lane {
    /// Compiles what nodes of a plan evaluate, and writes its constants into the arena.
    pub(super) fn prepare_values(&mut self, plan: &Plan) -> Vec<Incoming> {
        if let Err(error) = self.evaluators.know(plan) {
            tracing::error!(
                workflow = plan.workflow,
                error,
                "an expression was refused late"
            );
        }
        let constants = plan.constants.iter();
        constants
            .map(|constant| self.commit_constant(plan.deployment, constant))
            .collect()
    }

    pub(super) fn forget_values(&mut self, deployment: DeploymentId) {
        self.evaluators.forget(deployment);
    }

    fn commit_constant(&mut self, deployment: DeploymentId, constant: &Constant) -> Incoming {
        let mut list = List {
            bytes: Vec::new(),
            items: Vec::with_capacity(constant.items.len()),
        };
        constant.items.iter().for_each(|item| list.push(item));
        let mut written = list.done();
        if constant.kind != Kind::List {
            written.items = None;
        }
        let written = [written];
        match self.write(deployment, &written) {
            Ok(ranges) => {
                let [written] = written;
                written.at(ranges.first().copied().unwrap_or(PayloadRef::EMPTY))
            }
            Err(error) => refused(&error),
        }
    }

    /// Chooses a case, computes values, or says how long a node waits.
    pub(super) fn evaluate(&mut self, evaluate: &Evaluate) {
        let chosen = self
            .chosen
            .take_if(|(ticket, _)| *ticket == evaluate.ticket);
        let evaluated = match chosen {
            Some((_, case)) => Some(Evaluated::Case(Some(case))),
            None => match self.copy_inputs(evaluate) {
                Ok(()) => self.evaluate_copied(evaluate),
                Err(cause) => Some(Evaluated::Failed(cause)),
            },
        };
        if let Some(evaluated) = evaluated {
            let now_ns = self.event_ns();
            self.core.evaluated(now_ns, evaluate.ticket, evaluated);
        }
    }

    fn copy_inputs(&mut self, evaluate: &Evaluate) -> Result<(), String> {
        let Self {
            evaluators,
            segments,
            core,
            ..
        } = self;
        evaluators.begin();
        let mut wrong = None;
        let core = &*core;
        core.evaluation_inputs(evaluate, |input| {
            let copy = match input {
                Input::One(range) => evaluators.copy(range, segments),
                Input::List(items) | Input::Windowed(items, _) => {
                    let items = items.iter().map(|item| core.locate(*item));
                    evaluators.copy_items(items, segments)
                }
            };
            if let Err(cause) = copy {
                wrong = Some(cause);
            }
        });
        wrong.map_or(Ok(()), Err)
    }

    /// What came of it; none if it is answered when it is written.
    fn evaluate_copied(&mut self, evaluate: &Evaluate) -> Option<Evaluated> {
        let computed = {
            let mut few = [None; INPUTS_FEW];
            let mut many = Vec::new();
            let inputs = self.evaluators.values(&mut few, &mut many);
            let Evaluators {
                by_node,
                delays_by_node,
                ..
            } = &self.evaluators;
            let key = (evaluate.deployment, evaluate.node);
            let uncompiled = || Evaluated::Failed("its expressions do not compile".to_owned());
            if evaluate.part() == Part::Delay {
                let delays = delays_by_node.get(&key);
                return Some(delays.map_or_else(uncompiled, |delays| delays.evaluate(inputs)));
            }
            let Some(evaluator) = by_node.get(&key) else {
                return Some(uncompiled());
            };
            match evaluator {
                Evaluator::Switch {
                    conditions,
                    default,
                } => return Some(choose(conditions, *default, inputs)),
                Evaluator::Compute {
                    formulas,
                    items_max,
                } => {
                    let computed = formulas.iter().map(|(output, formula, maximum)| {
                        let most = maximum.items.min(*items_max);
                        let computed = formula.compute(output, inputs, most)?;
                        computed.within(output, *maximum)
                    });
                    computed.collect::<Result<Vec<Computed>, String>>()
                }
            }
        };
        match computed {
            Ok(computed) => {
                self.answer_soon(Unanswered {
                    ticket: evaluate.ticket,
                    deployment: evaluate.deployment,
                    of: Of::Values,
                    computed,
                });
                None
            }
            Err(cause) => Some(Evaluated::Failed(cause)),
        }
    }

    /// Writes down what failed.
    pub(super) fn describe(&mut self, describe: Describe) {
        let text = Computed {
            bytes: describe.text.into_bytes(),
            items: None,
        };
        self.answer_soon(Unanswered {
            ticket: describe.ticket,
            deployment: describe.deployment,
            of: Of::Failure,
            computed: vec![text],
        });
    }
}

/// Appends a value's JSON.
fn copy_value(segments: &Segments, range: PayloadRef, copied: &mut Vec<u8>) -> Result<(), String> {
    if range.length == 0 {
        return Ok(());
    }
    let mapping = segments.mapping(range.segment);
    match mapping.and_then(|mapping| mapping.read(range.offset, range.length)) {
        Some(bytes) if bytes.len() <= VALUE_BYTES_MAX => {
            copied.extend_from_slice(bytes);
            Ok(())
        }
        Some(bytes) => Err(format!("an input of {} bytes is no value", bytes.len())),
        None => Err("an input is not where it is said to be".to_owned()),
    }
}

/// Appends a list of values as JSON; an item that is absent is null there.
fn copy_list(
    segments: &Segments,
    items: impl Iterator<Item = PayloadRef>,
    copied: &mut Vec<u8>,
) -> Result<(), String> {
    let start = copied.len();
    copied.push(b'[');
    for (place, item) in items.enumerate() {
        if place > 0 {
            copied.push(b',');
        }
        if item == PayloadRef::ABSENT {
            copied.extend_from_slice(b"null");
        } else {
            copy_value(segments, item, copied)?;
        }
        if copied.len() - start > LIST_BYTES_MAX {
            return Err(format!(
                "a list has more than {LIST_BYTES_MAX} bytes, which is what expressions read"
            ));
        }
    }
    copied.push(b']');
    Ok(())
}
