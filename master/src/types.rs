//! What functions say of their payloads: asked of the workers, compared along every edge, and told in the plans.
//!
//! [`Said`] is what the workers of a deployment have told. [`Said::check`] promises that both ends of each edge say the same
//! wherever both say something, or an error that names them and the first field that differs. It is a check of the
//! definition, whatever runs where, since all workers must agree on what a function says. docs/types.md has the rules.

use crate::definition::{Definition, From, FunctionName, Node, Work};
use engine::plan::{Plan, PortRef, PortType};
use faasstore::binding::{FunctionDescription, Kind, TypedPort};
use faasstore::schema::Schema;
use std::collections::BTreeMap;

mod error;

pub use error::{Port, TypesError};

/// What functions say of their ports.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Ports {
    inputs: Vec<(Option<String>, Schema)>,
    outputs: Vec<(Option<String>, Schema)>,
}

/// Which half of a function's ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Half {
    Input,
    Output,
}

impl Half {
    const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// What the executables of one worker say.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct OfWorker {
    name: String,
    /// By executable and function.
    functions: BTreeMap<(String, String), Ports>,
}

impl OfWorker {
    fn said(&self, function: &FunctionName, port: &str, half: Half) -> Option<&Schema> {
        let key = (function.executable.clone(), function.function.clone());
        let ports = self.functions.get(&key)?;
        let ports = match half {
            Half::Input => &ports.inputs,
            Half::Output => &ports.outputs,
        };
        let is_it = |name: &Option<String>| name.as_deref().is_none_or(|name| name == port);
        let found = ports.iter().find(|(name, _)| is_it(name));
        found.map(|(_, schema)| schema)
    }
}

/// What functions say of their payloads, worker by worker.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Said {
    workers: Vec<OfWorker>,
}

/// What a whole workflow's payloads are, once all agree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    said: Said,
    /// By input of the workflow, and by output: the hash, or 0.
    inputs: Vec<u64>,
    outputs: Vec<u64>,
}

impl Said {
    /// A worker more, in the order of the deployment's workers; nothing is known of it yet.
    pub fn worker(&mut self, name: impl Into<String>) {
        self.workers.push(OfWorker {
            name: name.into(),
            functions: BTreeMap::new(),
        });
    }

    /// The last worker's functions in an executable.
    ///
    /// # Errors
    /// [`TypesError::Malformed`] if what one says is no description.
    ///
    /// # Panics
    /// If there is no worker yet.
    pub fn tell(
        &mut self,
        executable: &str,
        functions: &[FunctionDescription],
    ) -> Result<(), TypesError> {
        let Some(worker) = self.workers.last_mut() else {
            panic!("the worker comes before its functions");
        };
        for function in functions {
            let read = |half: Half, ports: &[TypedPort]| {
                let one = |port: &TypedPort| {
                    let schema = Schema::parse(&port.schema).map_err(|error| {
                        let (what, name) = (half.name(), port.port.as_deref().unwrap_or_default());
                        TypesError::Malformed {
                            worker: worker.name.clone(),
                            of: format!("the {what} {name} of `{executable}:{}`", function.name),
                            error: Box::new(error),
                        }
                    });
                    Ok((port.port.clone(), schema?))
                };
                ports.iter().map(one).collect::<Result<Vec<_>, _>>()
            };
            let ports = Ports {
                inputs: read(Half::Input, &function.inputs)?,
                outputs: read(Half::Output, &function.outputs)?,
            };
            let key = (executable.to_owned(), function.name.clone());
            worker.functions.insert(key, ports);
        }
        Ok(())
    }

    /// Compares every edge of a workflow.
    ///
    /// # Errors
    /// The first [`TypesError`] in the order of the nodes, of their inputs, and of where these come from.
    pub fn check(self, definition: &Definition) -> Result<Checked, TypesError> {
        let mut readers: Vec<Option<(Port, Schema)>> = vec![None; definition.inputs.len()];
        for node in &definition.nodes {
            // Also what nobody reads must be one thing on all workers.
            for output in written(node) {
                self.of(node, &output.name.value, output.kind, Half::Output)?;
            }
            for input in &node.inputs {
                let read = self.of(node, &input.name.value, input.kind, Half::Input)?;
                let Some((reader, wanted)) = read else {
                    continue;
                };
                for from in &input.from {
                    match origin(definition, node.region, from.value) {
                        Some(From::Output { node, output }) => {
                            self.edge((node, output), definition, &reader, wanted)?;
                        }
                        Some(From::Input(number)) => {
                            let slot = &mut readers[usize::from(number)];
                            let name = &definition.inputs[usize::from(number)].name.value;
                            agree(slot, name, &reader, wanted)?;
                        }
                        _ => {}
                    }
                }
            }
        }
        let hash = |reader: Option<(Port, Schema)>| reader.map_or(0, |(_, schema)| schema.hash());
        Ok(Checked {
            inputs: readers.into_iter().map(hash).collect(),
            outputs: self.outputs(definition)?,
            said: self,
        })
    }

    /// What is said of a port of a node, by all workers that know its function.
    fn of(
        &self,
        node: &Node,
        name: &str,
        kind: Kind,
        half: Half,
    ) -> Result<Option<(Port, &Schema)>, TypesError> {
        let Work::Function { function, .. } = &node.work else {
            return Ok(None);
        };
        // Those are JSON; an executable that says otherwise is refused when it starts.
        if kind == Kind::Value {
            return Ok(None);
        }
        let port = || Port {
            node: node.name.value.clone(),
            function: function.value.clone(),
            name: name.to_owned(),
        };
        let mut found: Option<(&OfWorker, &Schema)> = None;
        for worker in &self.workers {
            let Some(schema) = worker.said(&function.value, name, half) else {
                continue;
            };
            let (first, known) = *found.get_or_insert((worker, schema));
            if let Some(difference) = known.difference(schema) {
                return Err(TypesError::Builds {
                    first: first.name.clone(),
                    second: worker.name.clone(),
                    port: Box::new(port()),
                    difference: Box::new(difference),
                });
            }
        }
        Ok(found.map(|(_, schema)| (port(), schema)))
    }

    fn edge(
        &self,
        (producer, output): (usize, u16),
        definition: &Definition,
        reader: &Port,
        wanted: &Schema,
    ) -> Result<(), TypesError> {
        let Some((writer, written)) = self.output(definition, producer, output)? else {
            return Ok(());
        };
        match written.difference(wanted) {
            None => Ok(()),
            Some(difference) => Err(TypesError::Edge {
                writer: Box::new(writer),
                reader: Box::new(reader.clone()),
                difference: Box::new(difference),
            }),
        }
    }

    /// What is said of an output of a node.
    fn output(
        &self,
        definition: &Definition,
        producer: usize,
        output: u16,
    ) -> Result<Option<(Port, &Schema)>, TypesError> {
        let node = &definition.nodes[producer];
        match written(node).get(usize::from(output)) {
            Some(declared) => self.of(node, &declared.name.value, declared.kind, Half::Output),
            None => Ok(None),
        }
    }

    /// By output of the workflow: the hash that all it may come from have, or 0.
    fn outputs(&self, definition: &Definition) -> Result<Vec<u64>, TypesError> {
        let mut hashes = Vec::with_capacity(definition.outputs.len());
        for output in &definition.outputs {
            let mut one = None;
            for from in &output.from {
                let said = match from.value {
                    From::Output { node, output } | From::First { node, output } => {
                        self.output(definition, node, output)?
                    }
                    From::Input(_) | From::Item { .. } | From::Constant(_) => None,
                };
                let hash = said.map_or(0, |(_, schema)| schema.hash());
                let earlier = *one.get_or_insert(hash);
                one = Some(if earlier == hash { hash } else { 0 });
            }
            hashes.push(one.unwrap_or(0));
        }
        Ok(hashes)
    }
}

/// What a node's function writes. What it has failed with is not for the function to say.
fn written(node: &Node) -> &[crate::definition::Port] {
    let count = node.outputs.len() - usize::from(node.error_output.is_some());
    &node.outputs[..count]
}

/// An input of the workflow, and who reads it: all must take it for the same.
fn agree(
    known: &mut Option<(Port, Schema)>,
    input: &str,
    reader: &Port,
    wanted: &Schema,
) -> Result<(), TypesError> {
    let Some((first, schema)) = known else {
        *known = Some((reader.clone(), wanted.clone()));
        return Ok(());
    };
    match schema.difference(wanted) {
        None => Ok(()),
        Some(difference) => Err(TypesError::Input {
            input: input.to_owned(),
            first: Box::new(first.clone()),
            second: Box::new(reader.clone()),
            difference: Box::new(difference),
        }),
    }
}

/// Where what a node in that region reads was made: an output, or an input of the workflow. An item is of its list.
fn origin(definition: &Definition, region: Option<usize>, from: From) -> Option<From> {
    let (mut from, mut region) = (from, region);
    loop {
        match from {
            From::Item { up } => {
                // The region so many levels outward, and what its list is around it.
                let outward =
                    std::iter::successors(region, |region| definition.regions[*region].parent);
                let of = &definition.regions[outward.into_iter().nth(usize::from(up))?];
                (from, region) = (of.list.value, of.parent);
            }
            From::First { node, output } => return Some(From::Output { node, output }),
            From::Output { .. } | From::Input(_) => return Some(from),
            From::Constant(_) => return None,
        }
    }
}

impl Checked {
    /// Writes into plans, whose workers count as those that were told of, what is said of each port.
    ///
    /// # Panics
    /// If a plan is of another workflow, or of a worker that was not told of.
    pub fn add_to(&self, plans: &mut [Plan]) {
        for plan in plans {
            plan.types = self.of_plan(plan);
        }
    }

    fn of_plan(&self, plan: &Plan) -> Vec<PortType> {
        let worker = &self.said.workers[usize::from(plan.me)];
        let mut types = Vec::new();
        let mut add = |port: PortRef, schema: u64| {
            if schema != 0 {
                types.push(PortType { port, schema });
            }
        };
        for (number, hash) in (0..).zip(&self.inputs) {
            add(PortRef::Input(number), *hash);
        }
        for (number, hash) in (0..).zip(&self.outputs) {
            add(PortRef::Output(number), *hash);
        }
        for node in &plan.nodes {
            let engine::plan::Work::Function {
                executable,
                function,
                ..
            } = &node.work
            else {
                continue;
            };
            let name = FunctionName {
                executable: plan.executables[usize::from(*executable)].name.clone(),
                function: function.clone(),
            };
            let said = |port: &str, kind: Kind, half: Half| match kind {
                Kind::Value => 0,
                Kind::Bytes | Kind::List => worker.said(&name, port, half).map_or(0, Schema::hash),
            };
            let id = node.id;
            for (input, port) in (0..).zip(&node.inputs) {
                let hash = said(&port.name, port.kind, Half::Input);
                add(PortRef::Read { node: id, input }, hash);
            }
            let returned = node.outputs.len() - usize::from(node.error_output.is_some());
            for (output, port) in (0..).zip(&node.outputs[..returned]) {
                let hash = said(&port.name, port.kind, Half::Output);
                add(PortRef::Written { node: id, output }, hash);
            }
        }
        types.sort_unstable_by_key(|one| one.port);
        types
    }
}

#[cfg(test)]
mod tests;
