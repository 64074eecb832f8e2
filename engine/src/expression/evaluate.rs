//! Runs a program over the values of one activation.

use super::arithmetic::{self, Reason};
use super::functions;
use super::json::{self, Found};
use super::program::{Node, NodeKind};
use super::syntax::{Macro, Operator};
use super::value::{Data, Key, Map, whole};
use super::{EvaluationError, STEPS_MAX};
use std::cell::Cell;
use std::cmp::Ordering;
use std::rc::Rc;

/// Fields among which a likely name is looked for.
const FIELDS_SHOWN_MAX: usize = 100;

/// What is left of [`STEPS_MAX`].
pub(super) struct Budget {
    left: u32,
}

impl Budget {
    pub(super) fn spend(&mut self, steps: u32) -> Result<(), EvaluationError> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(EvaluationError::of_whole(format!(
                    "the expression takes more than {STEPS_MAX} steps for these values; a function can compute what takes more"
                )))
            }
        }
    }

    /// For bytes of texts that are compared, searched or made.
    pub(super) fn spend_bytes(&mut self, bytes: usize) -> Result<(), EvaluationError> {
        self.spend(u32::try_from(bytes / 16).unwrap_or(u32::MAX))
    }

    /// For elements that are made or copied.
    pub(super) fn spend_elements(&mut self, elements: usize) -> Result<(), EvaluationError> {
        self.spend(u32::try_from(elements).unwrap_or(u32::MAX))
    }

    /// No more can be had: what failed, failed for good.
    fn is_spent(&self) -> bool {
        self.left == 0
    }
}

/// The result of a program, and what is left to write it out with.
pub(super) fn evaluate<'a>(
    root: &'a Node,
    text: &'a str,
    values: &'a [Option<&'a [u8]>],
) -> Result<(Data<'a>, Budget), EvaluationError> {
    let mut machine = Machine {
        values,
        locals: Vec::new(),
        read: Vec::new(),
        budget: Budget { left: STEPS_MAX },
        searched: Cell::new(false),
    };
    let data = machine.part(root).map_err(|error| error.in_text(text))?;
    Ok((data, machine.budget))
}

type Evaluated<'a> = Result<Data<'a>, EvaluationError>;

struct Machine<'a> {
    values: &'a [Option<&'a [u8]>],
    /// What macros around have bound, the outermost first.
    locals: Vec<Data<'a>>,
    /// Values with parts that have been read already, by their numbers.
    read: Vec<Option<Data<'a>>>,
    budget: Budget,
    /// Whether a missing field's likely name has been looked for: that costs more than a step, and happens once.
    searched: Cell<bool>,
}

#[cold]
fn fail(node: &Node, reason: impl Into<String>) -> EvaluationError {
    EvaluationError::of_part(node.span, reason)
}

fn or_fail<T>(node: &Node, outcome: Result<T, Reason>) -> Result<T, EvaluationError> {
    outcome.map_err(|reason| fail(node, reason))
}

impl<'a> Machine<'a> {
    fn part(&mut self, node: &'a Node) -> Evaluated<'a> {
        self.budget.spend(1)?;
        match &node.kind {
            NodeKind::Literal(literal) => Ok(Data::literal(literal)),
            NodeKind::Value { slot, path } => self.value(node, *slot, path),
            NodeKind::Binary { operator, operands } => self.binary(node, *operator, operands),
            NodeKind::Every(parts) => self.fold(parts, false).map(Data::Bool),
            NodeKind::Some(parts) => self.fold(parts, true).map(Data::Bool),
            NodeKind::Not(of) => Ok(Data::Bool(!self.boolean(of)?)),
            NodeKind::IsPresent { slot } => Ok(Data::Bool(self.json(*slot).is_some())),
            NodeKind::Local(local) => Ok(self.locals.get(*local).cloned().unwrap_or(Data::Null)),
            NodeKind::Choose(parts) => {
                let [condition, then, otherwise] = &**parts;
                if self.boolean(condition)? {
                    self.part(then)
                } else {
                    self.part(otherwise)
                }
            }
            _ => self.rare(node),
        }
    }

    /// What stands in few conditions, apart so that the others need little of the stack.
    #[inline(never)]
    fn rare(&mut self, node: &'a Node) -> Evaluated<'a> {
        match &node.kind {
            NodeKind::Negate(of) => match self.part(of)? {
                Data::Int(int) => match int.checked_neg() {
                    Some(negative) => Ok(Data::Int(negative)),
                    None => Err(fail(node, "is beyond the whole numbers of 64 bits")),
                },
                Data::Double(double) => Ok(Data::Double(-double)),
                other => {
                    let kind = other.kind().with_article();
                    Err(fail(of, format!("is {kind}, and `-` takes a number")))
                }
            },
            NodeKind::Select { of, field } => {
                let data = self.part(of)?;
                self.field(node, &data, field)
            }
            NodeKind::Has { of, field } => match self.part(of)? {
                Data::Map(entries) => {
                    let key = Key::String(field.as_str().into());
                    Ok(Data::Bool(entries.contains_key(&key)))
                }
                Data::Null => Ok(Data::Bool(false)),
                other => {
                    let kind = other.kind().with_article();
                    Err(fail(of, format!("is {kind}, which has no fields")))
                }
            },
            NodeKind::Index(parts) => {
                let [of, by] = &**parts;
                let (data, key) = (self.part(of)?, self.part(by)?);
                self.index(node, &data, &key)
            }
            NodeKind::List(parts) => {
                let elements: Result<Vec<_>, _> =
                    parts.iter().map(|part| self.part(part)).collect();
                Ok(Data::list(elements?))
            }
            NodeKind::Map(entries) => self.object(node, entries),
            NodeKind::Call {
                function,
                arguments,
            } => {
                let arguments: Result<Vec<_>, _> = arguments
                    .iter()
                    .map(|argument| self.part(argument))
                    .collect();
                let outcome = functions::call(*function, &arguments?, &mut self.budget)?;
                or_fail(node, outcome)
            }
            NodeKind::Macro { which, over, parts } => self.run_macro(node, *which, over, parts),
            _ => unreachable!("`part` does the others"),
        }
    }

    fn json(&self, slot: usize) -> Option<&'a [u8]> {
        self.values.get(slot).copied().flatten()
    }

    fn value(&mut self, node: &'a Node, slot: usize, path: &'a [String]) -> Evaluated<'a> {
        if let Some(Some(data)) = self.read.get(slot) {
            let data = data.clone();
            return self.walk(node, data, path);
        }
        let Some(json) = self.json(slot) else {
            return self.walk(node, Data::Null, path);
        };
        self.budget.spend_elements(json.len() / 8)?;
        // Within a macro the same value is likely to be asked for again.
        let whole = path.is_empty() || !self.locals.is_empty();
        let found = json::read(json, if whole { &[] } else { path })
            .map_err(|error| fail(node, error.to_string()))?;
        match found {
            Found::Data(data) if whole => {
                if matches!(data, Data::List(_) | Data::Map(_)) {
                    if self.read.len() <= slot {
                        self.read.resize(slot + 1, None);
                    }
                    self.read[slot] = Some(data.clone());
                }
                self.walk(node, data, path)
            }
            Found::Data(data) => Ok(data),
            Found::Missing(place) => {
                let within = || match json::read(json, &path[..place]) {
                    Ok(Found::Data(Data::Map(entries))) => Some(entries),
                    _ => None,
                };
                Err(self.missing(node, &path[place], within))
            }
            Found::NoObject(place, what) => Err(self.no_object(node, what, &path[place])),
        }
    }

    fn walk(&self, node: &Node, mut data: Data<'a>, path: &[String]) -> Evaluated<'a> {
        for field in path {
            data = self.field(node, &data, field)?;
        }
        Ok(data)
    }

    fn field(&self, node: &Node, data: &Data<'a>, field: &str) -> Evaluated<'a> {
        let Data::Map(entries) = data else {
            return Err(self.no_object(node, data.kind().with_article(), field));
        };
        let key = Key::String(field.into());
        match entries.get(&key) {
            Some(data) => Ok(data.clone()),
            None => Err(self.missing(node, field, || Some(Rc::clone(entries)))),
        }
    }

    /// An object has no such field; `within` gives the object.
    #[cold]
    fn missing(
        &self,
        node: &Node,
        field: &str,
        within: impl FnOnce() -> Option<Rc<Map<'a>>>,
    ) -> EvaluationError {
        // One of them is shown at most.
        let entries = (!self.searched.replace(true)).then(within).flatten();
        let fields = entries.map(|entries| {
            let fields = entries.keys().take(FIELDS_SHOWN_MAX);
            fields.map(Key::to_string).collect()
        });
        EvaluationError::no_field(node.span, field, fields)
    }

    fn no_object(&self, node: &Node, what: &str, field: &str) -> EvaluationError {
        fail(node, format!("{what} has no field `{field}`"))
    }

    fn index(&self, node: &Node, data: &Data<'a>, key: &Data<'a>) -> Evaluated<'a> {
        match data {
            Data::List(elements) => {
                let place = match key {
                    Data::Int(int) => Some(*int),
                    Data::Double(double) => whole(*double),
                    _ => None,
                };
                let Some(place) = place else {
                    let kind = key.kind().with_article();
                    return Err(fail(node, format!("{kind} is no place in a list")));
                };
                let found = usize::try_from(place)
                    .ok()
                    .and_then(|place| elements.get(place));
                found.cloned().ok_or_else(|| {
                    let count = elements.len();
                    fail(
                        node,
                        format!("there is no element {place} in a list of {count}"),
                    )
                })
            }
            Data::Map(entries) => {
                let found = Key::of(key).map(|key| (entries.get(&key), key));
                match found {
                    Some((Some(data), _)) => Ok(data.clone()),
                    Some((None, key)) => {
                        Err(self.missing(node, &key.to_string(), || Some(Rc::clone(entries))))
                    }
                    None => {
                        let kind = key.kind().with_article();
                        Err(fail(node, format!("{kind} is no key of an object")))
                    }
                }
            }
            other => {
                let kind = other.kind().with_article();
                Err(fail(node, format!("nothing can be taken from {kind}")))
            }
        }
    }

    fn object(&mut self, node: &'a Node, entries: &'a [[Node; 2]]) -> Evaluated<'a> {
        let mut object = Map::new();
        // An entry is a key of its own in a tree, which takes as long as many a smaller step.
        self.budget.spend_elements(8 * entries.len())?;
        for [key, value] in entries {
            let data = self.part(key)?;
            let Some(key) = Key::of(&data) else {
                let kind = data.kind().with_article();
                return Err(fail(key, format!("{kind} is no key of an object")));
            };
            let value = self.part(value)?;
            if object.contains_key(&key) {
                return Err(fail(node, format!("the key {key} stands there twice")));
            }
            object.insert(key, value);
        }
        Ok(Data::Map(Rc::new(object)))
    }

    fn boolean(&mut self, node: &'a Node) -> Result<bool, EvaluationError> {
        match self.part(node)? {
            Data::Bool(boolean) => Ok(boolean),
            other => {
                let kind = other.kind().with_article();
                Err(fail(node, format!("is {kind}, and must be true or false")))
            }
        }
    }

    /// `&&` and `||`: one part that `decides` outweighs every part that fails, wherever it stands.
    fn fold(&mut self, parts: &'a [Node], decides: bool) -> Result<bool, EvaluationError> {
        let mut failure = None;
        for part in parts {
            match self.boolean(part) {
                Ok(boolean) if boolean == decides => return Ok(decides),
                Ok(_) => {}
                Err(error) if self.budget.is_spent() => return Err(error),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(!decides), Err)
    }

    fn binary(
        &mut self,
        node: &'a Node,
        operator: Operator,
        operands: &'a [Node; 2],
    ) -> Evaluated<'a> {
        let left = self.part(&operands[0])?;
        let right = self.part(&operands[1])?;
        let budget = &mut self.budget;
        let ordered = match operator {
            Operator::Equal => return Ok(Data::Bool(arithmetic::equal(&left, &right, budget)?)),
            Operator::Unequal => return Ok(Data::Bool(!arithmetic::equal(&left, &right, budget)?)),
            Operator::In => {
                let outcome = arithmetic::is_in(&left, &right, budget)?;
                return Ok(Data::Bool(or_fail(node, outcome)?));
            }
            Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Remainder => {
                let outcome = arithmetic::calculate(operator, left, right, budget)?;
                return or_fail(node, outcome);
            }
            Operator::Less => |order: Ordering| order.is_lt(),
            Operator::LessOrEqual => |order: Ordering| order.is_le(),
            Operator::Greater => |order: Ordering| order.is_gt(),
            Operator::GreaterOrEqual => |order: Ordering| order.is_ge(),
        };
        let outcome = arithmetic::order(&left, &right, budget)?;
        let order = or_fail(node, outcome)?;
        Ok(Data::Bool(order.is_some_and(ordered)))
    }

    fn run_macro(
        &mut self,
        node: &'a Node,
        which: Macro,
        over: &'a Node,
        parts: &'a [Node],
    ) -> Evaluated<'a> {
        let elements = match self.part(over)? {
            Data::List(elements) => elements,
            Data::Map(entries) => {
                self.budget.spend_elements(entries.len())?;
                Rc::new(entries.keys().map(Key::to_data).collect())
            }
            other => {
                let kind = other.kind().with_article();
                return Err(fail(
                    over,
                    format!("is {kind}, and not a list or an object"),
                ));
            }
        };
        let bound = self.locals.len();
        let outcome = match (which, parts) {
            (Macro::All, [test]) => self.decide(&elements, test, false).map(Data::Bool),
            (Macro::Exists, [test]) => self.decide(&elements, test, true).map(Data::Bool),
            (Macro::ExistsOne, [test]) => self
                .select(&elements, Some(test), None)
                .map(|found| Data::Bool(found.len() == 1)),
            (Macro::Filter, [test]) => self.select(&elements, Some(test), None).map(Data::list),
            (Macro::Map, [make]) => self.select(&elements, None, Some(make)).map(Data::list),
            (Macro::Map, [test, make]) => self
                .select(&elements, Some(test), Some(make))
                .map(Data::list),
            _ => Err(fail(node, "is called with more or less than it takes")),
        };
        // After a failure too: an operator around may go on.
        self.locals.truncate(bound);
        outcome
    }

    /// As [`Self::fold`], over elements.
    fn decide(
        &mut self,
        elements: &[Data<'a>],
        test: &'a Node,
        decides: bool,
    ) -> Result<bool, EvaluationError> {
        let mut failure = None;
        let bound = self.locals.len();
        for element in elements {
            self.locals.truncate(bound);
            self.locals.push(element.clone());
            match self.boolean(test) {
                Ok(boolean) if boolean == decides => return Ok(decides),
                Ok(_) => {}
                Err(error) if self.budget.is_spent() => return Err(error),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(!decides), Err)
    }

    /// The elements of which `test` holds, or what is made of them.
    fn select(
        &mut self,
        elements: &[Data<'a>],
        test: Option<&'a Node>,
        make: Option<&'a Node>,
    ) -> Result<Vec<Data<'a>>, EvaluationError> {
        let mut selected = Vec::new();
        let bound = self.locals.len();
        for element in elements {
            self.locals.truncate(bound);
            self.locals.push(element.clone());
            if let Some(test) = test
                && !self.boolean(test)?
            {
                continue;
            }
            selected.push(match make {
                Some(make) => self.part(make)?,
                None => element.clone(),
            });
        }
        Ok(selected)
    }
}
