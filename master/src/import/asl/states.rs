//! States that need no function: Pass, Succeed, Fail and Choice; and what becomes of states between which bytes
//! travel.

use super::cel::{Binding, Cel};
use super::machine::{State, Work as StateWork};
use super::translate::{Entry, Gate, OUTPUT, Out, Translator, Way};
use super::{choice, template};
use crate::import::draft::{Formula, Node, Work};
use crate::import::problem::ImportProblem;
use crate::import::tree::{Tree, Value};

impl Translator<'_> {
    pub(super) fn pass(
        &mut self,
        state: &State<'_>,
        entry: &Entry,
        result: Option<&Tree>,
    ) -> Option<Out> {
        let output = self.pass_output(state, result, &entry.base())?;
        let name = self.names.identifier(state.name, "state_");
        let way = self.compute(name, &output, entry, state.span)?;
        Some(vec![(state.next, way)])
    }

    /// What a Pass passes on of its input.
    pub(super) fn pass_output(
        &mut self,
        state: &State<'_>,
        result: Option<&Tree>,
        base: &Cel,
    ) -> Option<Cel> {
        let input = self.selected(state, base)?;
        let input = match state.parameters {
            Some(tree) => {
                let scope = self.scope(state, &input);
                template::template(self.reader, tree, &scope)?
            }
            None => input,
        };
        let result = result.map_or(input, |tree| Cel::literal(&tree.to_json()));
        self.output(state, base, &result)
    }

    pub(super) fn succeed(&mut self, state: &State<'_>, entry: &Entry) -> Option<Out> {
        let base = entry.base();
        let input = self.selected(state, &base)?;
        let output = self.passed_on(state, &input)?;
        let way = match entry.sources.as_slice() {
            // It ends where it is reached, and changes nothing.
            [only] if output == base && entry.gates.is_empty() => Way {
                source: only.clone(),
                gates: Vec::new(),
                after: Vec::new(),
            },
            _ => {
                let name = self.names.identifier(state.name, "state_");
                self.compute(name, &output, entry, state.span)?
            }
        };
        Some(vec![(None, way)])
    }

    pub(super) fn fail(&mut self, state: &State<'_>, entry: &Entry) -> Option<Out> {
        let StateWork::Fail {
            error,
            error_path,
            cause,
            cause_path,
        } = &state.work
        else {
            return None;
        };
        let base = entry.base();
        let error = self.told(state, &base, "Error", *error, *error_path)?;
        let cause = self.told(state, &base, "Cause", *cause, *cause_path)?;
        let text = match (error, cause) {
            (Some(error), Some(cause)) => {
                let colon = Cel::text_literal(": ");
                let head = Cel::infix(Binding::Sum, &error, "+", &colon);
                Cel::infix(Binding::Sum, &head, "+", &cause)
            }
            (Some(error), None) => Cel::infix(Binding::Sum, &error, "+", &Cel::text_literal(":")),
            (None, Some(cause)) => cause,
            (None, None) => Cel::text_literal(&format!("the state {:?} failed", state.name)),
        };
        // Texts that stand there are one text.
        let text = match self.plain_failure(state) {
            Some(plain) => Cel::text_literal(&plain),
            None => text,
        };
        let name = self.names.identifier(state.name, "state_");
        if let Some(items) = self.maps.last_mut() {
            items.failing.push(name.clone());
        }
        self.compute(name, &Cel::call("fail", &[&text]), entry, state.span)?;
        let place = self.draft.nodes.len() - 1;
        self.fails(place, state)?;
        Some(Vec::new())
    }

    /// What a failure says, if it stands there whole.
    fn plain_failure(&self, state: &State<'_>) -> Option<String> {
        let StateWork::Fail {
            error: Some(error),
            error_path: None,
            cause: Some(cause),
            cause_path: None,
        } = &state.work
        else {
            return None;
        };
        match (&error.value, &cause.value) {
            (Value::Text(error), Value::Text(cause)) => Some(format!("{error}: {cause}")),
            _ => None,
        }
    }

    /// An Error or Cause, or what its path leads to.
    fn told(
        &mut self,
        state: &State<'_>,
        base: &Cel,
        key: &str,
        plain: Option<&Tree>,
        path: Option<&Tree>,
    ) -> Option<Option<Cel>> {
        match (plain, path) {
            (None, None) => Some(None),
            (Some(tree), None) => {
                let text = self.reader.text(tree, &format!("`{key}`"))?;
                Some(Some(Cel::text_literal(text)))
            }
            (None, Some(tree)) => {
                let what = format!("`{key}Path`");
                let scope = self.scope(state, base);
                let cel = template::dynamic(self.reader, tree, &what, &scope)?;
                Some(Some(Cel::call("text", &[&cel])))
            }
            (Some(_), Some(tree)) => {
                let kind = ImportProblem::Contradiction(format!(
                    "the state has both `{key}` and `{key}Path`"
                ));
                self.reader.add(tree.span, kind, "leave one of them away");
                None
            }
        }
    }

    pub(super) fn choice(
        &mut self,
        state: &State<'_>,
        entry: Entry,
        rules: &[(&Tree, usize)],
        default: Option<usize>,
    ) -> Option<Out> {
        let base = entry.base();
        let input = self.selected(state, &base)?;
        let entry = if input == base && entry.sources.len() == 1 {
            entry
        } else {
            let name = self
                .names
                .identifier(&format!("{}_input", state.name), "state_");
            let way = self.compute(name, &input, &entry, state.span)?;
            self.entry(state.name, vec![way])
        };
        let base = entry.base();
        let scope = self.scope(state, &base);
        let mut cases = Vec::with_capacity(rules.len());
        let mut complete = true;
        let mut reads = super::cel::Reads::default();
        let mut conditions = Vec::with_capacity(rules.len());
        for (rule, _) in rules {
            let condition = choice::condition(self.reader, rule, &scope);
            reads.state |= condition.as_ref().is_some_and(|cel| cel.reads().state);
            conditions.push((condition, rule.span));
        }
        if !reads.state
            && let Some((Some(first), _)) = conditions.first_mut()
        {
            *first = self.tied(first, &entry);
            reads = first.reads();
        }
        for (condition, span) in conditions {
            match condition.and_then(|cel| self.checked_condition(&cel, span)) {
                Some(text) => cases.push((text, Vec::new())),
                None => complete = false,
            }
        }
        if !complete {
            return None;
        }
        let name = self.names.identifier(state.name, "state_");
        let work = Work::Switch {
            cases,
            default: default.map(|_| Vec::new()),
        };
        let mut node = Node::new(name, work);
        self.lead(&mut node, &entry, reads);
        let switch = self.draft.nodes.len();
        self.draft.nodes.push(node);
        if default.is_none() {
            // That no rule matches is a failure like others.
            self.throws_without_match(switch, state)?;
        }
        let output = self.passed_on(state, &base)?;
        let source = if output == base {
            entry.sources.first()?.clone()
        } else {
            let name = self
                .names
                .identifier(&format!("{}_output", state.name), "state_");
            self.compute(name, &output, &entry, state.span)?.source
        };
        let to = |case: Option<usize>, next: usize| {
            let gates = vec![Gate { switch, case }];
            let way = Way {
                source: source.clone(),
                gates,
                after: Vec::new(),
            };
            (Some(next), way)
        };
        let mut out: Out = rules
            .iter()
            .enumerate()
            .map(|(case, (_, next))| to(Some(case), *next))
            .collect();
        out.extend(default.map(|next| to(None, next)));
        Some(out)
    }

    /// A state between others that pass bytes on.
    pub(super) fn bytes_state(&mut self, state: &State<'_>, entry: Entry) -> Option<Out> {
        let looks = [
            ("`InputPath`", state.input_path),
            ("`Parameters`", state.parameters),
            ("`ResultSelector`", state.result_selector),
            ("`ResultPath`", state.result_path),
            ("`OutputPath`", state.output_path),
        ];
        let caught = state
            .catch
            .iter()
            .map(|catcher| ("`ResultPath`", catcher.result_path));
        for (what, tree) in looks.into_iter().chain(caught) {
            if let Some(tree) = tree
                && tree.value != Value::Text("$".to_owned())
            {
                self.over_bytes(tree.span, what);
                return None;
            }
        }
        let pass = |entry: &Entry, after: Vec<String>| -> Out {
            let sources = entry.sources.iter();
            let way = |source: &crate::import::draft::Source| Way {
                after: after.clone(),
                ..Way::from(source.clone())
            };
            sources.map(|source| (state.next, way(source))).collect()
        };
        match &state.work {
            StateWork::Task { resource, timeout } => self.task(state, &entry, resource, *timeout),
            StateWork::Succeed | StateWork::Pass { result: None } => {
                Some(pass(&entry, entry.after.clone()))
            }
            StateWork::Wait(until) => {
                let name = self.wait_over_bytes(state, &entry, until)?;
                Some(pass(&entry, vec![name]))
            }
            StateWork::Fail {
                error_path: None,
                cause_path: None,
                ..
            } => self.fail(state, &entry),
            StateWork::Fail { .. } => {
                self.over_bytes(state.span, "a path to an error or cause");
                None
            }
            StateWork::Pass { result: Some(tree) } => {
                self.over_bytes(tree.span, "`Result`");
                None
            }
            StateWork::Choice { .. } => {
                self.over_bytes(state.span, "a Choice");
                None
            }
            StateWork::Parallel(_) => {
                self.over_bytes(state.span, "a Parallel state");
                None
            }
            StateWork::Map { .. } => {
                self.over_bytes(state.span, "a Map");
                None
            }
        }
    }

    pub(super) fn over_bytes(&mut self, span: crate::definition::Span, what: &str) {
        let help = "with --payload bytes states pass what they get from function to function; without it they look into \
                    JSON values";
        self.reader
            .not_covered(span, format!("{what} over bytes"), help);
    }

    /// Adds a node to the draft that computes an object's fields or a list, for a Map's items.
    pub(super) fn compute_list(
        &mut self,
        name: String,
        cel: &Cel,
        entry: &Entry,
        state: &State<'_>,
    ) -> Option<String> {
        let cel = &self.tied(cel, entry);
        let formula = Formula::List(self.checked(cel, state.span)?);
        let mut node = Node::new(name, Work::Compute(vec![(OUTPUT.to_owned(), formula)]));
        self.lead(&mut node, entry, cel.reads());
        let name = node.name.clone();
        self.draft.nodes.push(node);
        Some(name)
    }
}
