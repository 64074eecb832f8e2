//! Task states: a function, what it is given, and what is made of its result; retries and catches.

use super::cel::{Binding, Cel, Reads};
use super::errors::{self, Errors};
use super::machine::{State, Work};
use super::resource::{self, Payload as InvokePayload};
use super::translate::{
    self, ERROR, Entry, Handler, OUTPUT, Translator, TriedAround, Way, first_of,
};
use super::{Payload, template};
use crate::definition::Spanned;
use crate::import::draft::{self, Catch, Feed, Formula, Node, Retry};
use crate::import::tree::{Tree, Value};
use engine::plan::ErrorClass;
use faasstore::binding::{Kind, VALUE_BYTES_MAX};

/// The one input of a function.
pub(super) const INPUT: &str = "input";

/// Catchers, and names of errors in them, that are looked at in all, for each node whose failures may lead to them.
const CAUGHT_MAX: usize = 1 << 17;

impl Translator<'_> {
    pub(super) fn task(
        &mut self,
        state: &State<'_>,
        entry: &Entry,
        resource: &Spanned<&str>,
        timeout: Option<&Tree>,
    ) -> Option<Vec<(Option<usize>, Way)>> {
        let base = entry.base();
        let input = self.selected(state, &base)?;
        let call = resource::call(
            self.reader,
            resource,
            state.parameters,
            self.options,
            &mut self.used,
        )?;
        let invokes = call.invoke.is_some();
        let (given, constant) = match &call.invoke {
            None => (
                state.parameters.map(|tree| (tree, InvokePayload::Template)),
                None,
            ),
            Some(invoke) => (invoke.payload, Some(Cel::object(&[]))),
        };
        let (argument, constant) = match (given, constant) {
            (Some((tree, InvokePayload::Template)), _) => {
                let plain = template::is_constant(tree).then(|| tree.to_json());
                // What is no expression has a limit of its own.
                if let Some(value) = &plain
                    && value.to_string().len() > VALUE_BYTES_MAX
                {
                    let what = format!("an input of more than {VALUE_BYTES_MAX} bytes");
                    let help = "let the function know it, or pass it on as bytes";
                    self.reader.not_covered(tree.span, what, help);
                    return None;
                }
                let scope = self.scope(state, &input);
                (template::template(self.reader, tree, &scope)?, plain)
            }
            (Some((tree, InvokePayload::Dynamic)), _) => {
                let scope = self.scope(state, &input);
                (
                    template::dynamic(self.reader, tree, "`Payload.$`", &scope)?,
                    None,
                )
            }
            (None, Some(nothing)) => (nothing, Some(serde_json::json!({}))),
            (None, None) => (input.clone(), None),
        };
        let name = self.names.identifier(state.name, "state_");
        let mut node = Node::new(name.clone(), draft::Work::Function(call.function));
        let kind = match self.options.payload {
            Payload::Value => Kind::Value,
            Payload::Bytes => Kind::Bytes,
        };
        node.outputs.push((OUTPUT.to_owned(), kind));
        node.retriers = errors::retriers(self.reader, state, &mut self.notes)?;
        node.timeout_ms = match timeout {
            Some(tree) => Some(translate::timeout(self.reader, tree)?),
            None => None,
        };
        if let Some(value) = constant.filter(|_| !self.is_tied(entry)) {
            node.inputs.push((INPUT.to_owned(), Feed::Value(value)));
            self.lead(&mut node, entry, Reads::default());
        } else if argument == base {
            self.lead(&mut node, entry, Reads::STATE);
            // The function knows its input by one name, whatever it comes from.
            node.inputs = vec![(INPUT.to_owned(), entry.feed())];
        } else {
            let before = self
                .names
                .identifier(&format!("{}_input", state.name), "state_");
            let way = self.compute(before, &argument, entry, state.span)?;
            node.inputs
                .push((INPUT.to_owned(), first_of(vec![way.source])));
        }
        let place = self.draft.nodes.len();
        self.draft.nodes.push(node);
        let own = self.handlers_of(state)?;
        self.tried_within(place, &own, state)?;
        self.throws(place, &own, state)?;
        let plain = Cel::name(format!("{name}.{OUTPUT}"), Reads::RESULT);
        let result = if invokes {
            Cel::object(&[
                ("ExecutedVersion".to_owned(), Cel::text_literal("$LATEST")),
                ("Payload".to_owned(), plain.clone()),
                ("StatusCode".to_owned(), Cel::whole(200)),
            ])
        } else {
            plain.clone()
        };
        let output = self.output(state, &base, &result)?;
        let way = if output == plain {
            self.way(&name)
        } else {
            self.conclude(state, entry, &output, &[plain])?
        };
        let mut out = vec![(state.next, way)];
        out.extend(self.caught(state, entry, &own)?);
        Some(out)
    }

    /// The last node of a state: what it passes on of its result. It waits for all `results`, whether it reads them or
    /// not, since it stands for the state having ended well.
    pub(super) fn conclude(
        &mut self,
        state: &State<'_>,
        entry: &Entry,
        output: &Cel,
        results: &[Cel],
    ) -> Option<Way> {
        let output = if output.reads().result {
            output.clone()
        } else {
            output.having(results)
        };
        let name = self
            .names
            .identifier(&format!("{}_output", state.name), "state_");
        let formula = Formula::Value(self.checked(&output, state.span)?);
        let mut node = Node::new(
            name,
            draft::Work::Compute(vec![(OUTPUT.to_owned(), formula)]),
        );
        if output.reads().state {
            Self::bind(&mut node, entry);
        }
        Some(self.push(node))
    }

    /// What a state's catchers are for whatever in it fails.
    pub(super) fn handlers_of(&mut self, state: &State<'_>) -> Option<Vec<usize>> {
        let mut own = Vec::with_capacity(state.catch.len());
        for catcher in &state.catch {
            let errors = errors::errors(self.reader, catcher.errors, &mut self.notes)?;
            let node = self
                .names
                .identifier(&format!("{}_caught", state.name), "state_");
            own.push(self.handlers.len());
            self.handlers.push(Handler {
                node,
                errors,
                throwers: Vec::new(),
            });
        }
        Some(own)
    }

    /// What fails in the machines of this state is tried again as it says, until the last of [`Self::tried_around`] is taken
    /// away; `own` are its handlers.
    pub(super) fn try_within(&mut self, state: &State<'_>, own: &[usize]) -> Option<()> {
        let retriers = errors::retriers(self.reader, state, &mut self.notes)?;
        if !retriers.is_empty() {
            self.notes.push(format!(
                "`Retry` of the state \"{}\": each state within it that fails is tried again by itself, and what has ended \
                 well is not repeated",
                state.name
            ));
        }
        let catches = own.iter().map(|own| self.handlers[*own].errors.clone());
        let catches = catches.collect();
        self.tried_around.push(TriedAround { retriers, catches });
        Some(())
    }

    /// Lets a node be tried again as the states around it say too, unless one nearer to it catches the failure.
    fn tried_within(&mut self, node: usize, own: &[usize], state: &State<'_>) -> Option<()> {
        let mut all = self.draft.nodes[node].retriers.clone();
        let own = own.iter().map(|own| self.handlers[*own].errors.clone());
        let mut caught: Vec<Errors> = own.collect();
        for around in self.tried_around.iter().rev() {
            // The first retrier that takes a failure decides: one that tries nothing again keeps the later ones from it.
            let caught_here = std::mem::replace(&mut caught, around.catches.clone());
            let caught_here = caught_here.into_iter().filter(|errors| !errors.is_none());
            all.extend(caught_here.map(|errors| Retry::never(errors.on())));
            all.extend(around.retriers.iter().cloned());
        }
        // Behind one that takes everything none decides.
        let everything = all.iter().position(|retry| retry.on.is_empty());
        all.truncate(everything.map_or(all.len(), |place| place + 1));
        let tries = all.iter().rposition(|retry| retry.attempts > 1);
        all.truncate(tries.map_or(0, |place| place + 1));
        self.draft.nodes[node].retriers = errors::bounded(self.reader, all, state.span)?;
        Some(())
    }

    /// Lets a node's failures lead to these handlers, then to those of the states around it.
    pub(super) fn throws(&mut self, node: usize, own: &[usize], state: &State<'_>) -> Option<()> {
        let around = self.around.iter().rev().flatten();
        let all: Vec<usize> = own.iter().chain(around).copied().collect();
        for handler in all {
            self.looks_at(handler, state)?;
            let handler = &mut self.handlers[handler];
            if handler.errors.is_none() {
                continue;
            }
            let node = &mut self.draft.nodes[node];
            handler.throwers.push((node.name.clone(), ERROR));
            node.catches.push(Catch {
                on: handler.errors.on(),
                to: vec![handler.node.clone()],
            });
            if handler.errors == Errors::All {
                // What takes everything leaves nothing to those behind it.
                break;
            }
        }
        Some(())
    }

    /// Notes that a node's failures may lead to a handler: each is looked at for each node within it.
    pub(super) fn looks_at(&mut self, handler: usize, state: &State<'_>) -> Option<()> {
        self.looked_at += 1 + self.handlers[handler].errors.names();
        if self.looked_at > CAUGHT_MAX {
            let what =
                format!("catchers and the states within them, together more than {CAUGHT_MAX},");
            let help = "let a Parallel or Map state catch States.ALL, and tell its errors apart behind it with a Choice";
            self.reader.not_covered(state.span, what, help);
            return None;
        }
        Some(())
    }

    /// Lets a Fail state lead to the handlers around it. Its error's name is known, and its failure is one of an
    /// expression.
    pub(super) fn fails(&mut self, node: usize, state: &State<'_>) -> Option<()> {
        let Work::Fail {
            error, error_path, ..
        } = &state.work
        else {
            return None;
        };
        let name = error.and_then(|error| match &error.value {
            Value::Text(name) => Some(name.as_str()),
            _ => None,
        });
        let around: Vec<usize> = self.around.iter().rev().flatten().copied().collect();
        for handler in around {
            self.looks_at(handler, state)?;
            let handler = &mut self.handlers[handler];
            let takes = match &handler.errors {
                Errors::All => true,
                Errors::These(names) => {
                    if let Some(path) = error_path
                        && !names.is_empty()
                    {
                        let help = "write the name as Error, or let the Parallel or Map state around it catch States.ALL";
                        self.reader.not_covered(
                            path.span,
                            "an error whose catcher depends on its name",
                            help,
                        );
                        return None;
                    }
                    let failed = names.iter().any(|name| name == ErrorClass::Error.name());
                    failed || names.iter().any(|known| Some(known.as_str()) == name)
                }
            };
            if takes {
                let node = &mut self.draft.nodes[node];
                handler.throwers.push((node.name.clone(), ERROR));
                node.catches.push(Catch {
                    on: Vec::new(),
                    to: vec![handler.node.clone()],
                });
                break;
            }
        }
        Some(())
    }

    /// Lets a switch without a default lead to the handlers around it that take every failure.
    pub(super) fn throws_without_match(&mut self, node: usize, state: &State<'_>) -> Option<()> {
        let around: Vec<usize> = self.around.iter().rev().flatten().copied().collect();
        let mut first = None;
        for handler in around {
            self.looks_at(handler, state)?;
            if self.handlers[handler].errors == Errors::All {
                first = Some(handler);
                break;
            }
        }
        if let Some(handler) = first {
            let handler = &mut self.handlers[handler];
            let node = &mut self.draft.nodes[node];
            handler.throwers.push((node.name.clone(), ERROR));
            node.catches.push(Catch {
                on: vec![ErrorClass::Expression.name().to_owned()],
                to: vec![handler.node.clone()],
            });
        }
        Some(())
    }

    /// The nodes to which a state's failures lead, and where they lead themselves.
    pub(super) fn caught(
        &mut self,
        state: &State<'_>,
        entry: &Entry,
        own: &[usize],
    ) -> Option<Vec<(Option<usize>, Way)>> {
        let mut out = Vec::new();
        for (catcher, handler) in state.catch.iter().zip(own) {
            if self.handlers[*handler].throwers.is_empty() {
                continue;
            }
            let name = self.handlers[*handler].node.clone();
            let (base, bound) = self.thrown(*handler);
            let failure = failure(&base);
            let output = self.placed(catcher.result_path, &entry.base(), &failure)?;
            let output = if output.reads().error {
                output
            } else {
                output.having(&[base])
            };
            let formula = Formula::Value(self.checked(&output, catcher.span)?);
            let mut node = Node::new(
                name,
                draft::Work::Compute(vec![(OUTPUT.to_owned(), formula)]),
            );
            if output.reads().state {
                Self::bind(&mut node, entry);
            }
            node.inputs.extend(bound);
            out.push((Some(catcher.next), self.push(node)));
        }
        Some(out)
    }

    /// How a handler's expression names what failed, and what binds that name if several nodes may fail so.
    pub(super) fn thrown(&self, handler: usize) -> (Cel, Option<(String, Feed)>) {
        self.error_of(&self.handlers[handler].throwers)
    }

    /// How an expression names the error that the first of these says which is live, and what binds that name if they are
    /// several.
    pub(super) fn error_of(
        &self,
        throwers: &[(String, &'static str)],
    ) -> (Cel, Option<(String, Feed)>) {
        match throwers {
            [(only, output)] => {
                let error = Cel::name(format!("{only}.{output}"), Reads::ERROR);
                (error, None)
            }
            several => {
                let errors = several
                    .iter()
                    .map(|(thrower, output)| self.source(thrower, output));
                let feed = first_of(errors.collect());
                let error = Cel::name(ERROR, Reads::ERROR);
                (error, Some((ERROR.to_owned(), feed)))
            }
        }
    }
}

/// What a catcher's state is given of a failure: its name and its cause. A function's error has a name if its text begins
/// with one and a colon.
fn failure(error: &Cel) -> Cel {
    let (class, cause) = (error.field("class"), error.field("cause"));
    let is = |name: ErrorClass| class.compared("==", &Cel::text_literal(name.name()));
    let entry = |error: &Cel, cause: &Cel| {
        Cel::object(&[
            ("Error".to_owned(), error.clone()),
            ("Cause".to_owned(), cause.clone()),
        ])
    };
    let colon = Cel::text_literal(": ");
    let name = cause.method("split", &[&colon]).at(&Cel::whole(0));
    let behind = Cel::infix(
        Binding::Sum,
        &cause.method("indexOf", &[&colon]),
        "+",
        &Cel::whole(2),
    );
    let text = cause.method("substring", &[&behind]);
    // Names of errors have no spaces; what the engine itself says of a failure has.
    let named = is(ErrorClass::Error)
        .or(&is(ErrorClass::Expression))
        .and(&cause.method("contains", &[&colon]))
        .and(
            &name
                .method("contains", &[&Cel::text_literal(" ")])
                .negated(),
        );
    let timed_out = entry(&Cel::text_literal("States.Timeout"), &cause);
    let failed = entry(&Cel::text_literal("States.TaskFailed"), &cause);
    is(ErrorClass::Timeout).choose(&timed_out, &named.choose(&entry(&name, &text), &failed))
}
