//! What activations do: their attempts, and how these end.

use super::{Attempt, EXECUTORS, Rig, Seen, What};
use crate::flow::DEPLOYMENT;
use engine::core::{
    CompletionError, Evaluated, ExecutorId, Incoming, Next, Output, Part, Piece, Start,
};
use engine::plan::{ErrorClass, NodeId};
use faasstore::binding::Kind;
use faasstore::descriptor::CpuUse;

impl Rig {
    pub(super) fn start_of(&self, node: &str) -> Start {
        let running = self.running.iter().find(|one| one.node == node);
        let running = running.unwrap_or_else(|| panic!("{node} does not run"));
        match running.what {
            What::Start(start) => start,
            What::Evaluate(_) => panic!("the lane evaluates {node}"),
        }
    }

    /// The activation of this node that runs, or is to be evaluated.
    pub(crate) fn take(&mut self, node: &str) -> Attempt {
        let running: Vec<&str> = self.running.iter().map(|a| a.node.as_str()).collect();
        let place = running.iter().position(|name| *name == node);
        let place = place.unwrap_or_else(|| panic!("{node} does not run, but {running:?}"));
        self.running.remove(place)
    }

    /// Takes this one, if it still runs.
    pub(super) fn take_attempt(&mut self, attempt: &Attempt) {
        let same = |one: &Attempt| match (&one.what, &attempt.what) {
            (What::Start(a), What::Start(b)) => a == b && one.worker == attempt.worker,
            (What::Evaluate(a), What::Evaluate(b)) => a == b && one.worker == attempt.worker,
            _ => false,
        };
        self.running.retain(|one| !same(one));
    }

    pub(crate) fn runs(&self, node: &str) -> bool {
        self.running.iter().any(|attempt| attempt.node == node)
    }

    /// What the core says that this case of a switch will start first, if the switch comes next once `node` has ended.
    pub(crate) fn foresees_case(&self, node: &str, switch: &str, case: u16) -> Option<String> {
        let running = self.running.iter().find(|attempt| attempt.node == node)?;
        let What::Start(Start { executor, .. }) = running.what else {
            return None;
        };
        let core = &self.cores[running.worker];
        let Some(Next::Evaluate(evaluate)) = core.foresee(executor, |_| {})?.next else {
            return None;
        };
        let name = |node: NodeId| self.name(node);
        assert_eq!(name(evaluate.node), switch);
        let start = core.foresee_case(executor, &evaluate, case, |_| {})?;
        Some(name(core.started_node(&start).0))
    }

    /// The name of a node in the plans.
    pub(super) fn name(&self, node: NodeId) -> String {
        self.flow.nodes[self.of[node as usize] as usize]
            .name
            .clone()
    }

    /// Attempts at a node so far.
    pub(crate) fn attempts(&self, node: &str) -> usize {
        self.started
            .iter()
            .filter(|attempt| attempt.node == node)
            .count()
    }

    /// What the last attempt at a node saw.
    pub(crate) fn saw(&self, node: &str) -> Vec<Seen> {
        let attempts = self.started.iter().rev();
        let mut of_node = attempts.filter(|attempt| attempt.node == node);
        of_node
            .next()
            .unwrap_or_else(|| panic!("{node} has not run"))
            .saw
            .clone()
    }

    /// A node's activation ends well, and returns its name, with its item's number if it has one; a list's items are two.
    pub(crate) fn end(&mut self, node: &str) {
        let attempt = self.take(node);
        self.end_attempt(&attempt);
    }

    /// As [`Rig::end`], and the executor says what was taken of CPUs.
    pub(crate) fn end_measured(&mut self, node: &str, cpu: CpuUse) {
        let attempt = self.take(node);
        self.complete(&attempt, Some(cpu));
        self.settle();
    }

    /// Whether the executor that runs a node, the one that began last, is asked to measure it: by the request as it would be
    /// written now.
    pub(crate) fn measures(&self, node: &str) -> bool {
        let running = self.running.iter().rfind(|attempt| attempt.node == node);
        let running = running.unwrap_or_else(|| panic!("{node} does not run"));
        let What::Start(start) = &running.what else {
            panic!("the lane evaluates {node}");
        };
        self.cores[running.worker].measures(start)
    }

    pub(crate) fn end_attempt(&mut self, attempt: &Attempt) {
        self.take_attempt(attempt);
        self.complete(attempt, None);
        self.settle();
    }

    /// As [`Rig::end`], and the lane has not come to tidy up.
    pub(crate) fn end_untidied(&mut self, node: &str) {
        let attempt = self.take(node);
        self.complete(&attempt, None);
    }

    pub(super) fn complete(&mut self, attempt: &Attempt, cpu: Option<CpuUse>) {
        let What::Start(start) = attempt.what else {
            panic!("the lane evaluates {}", attempt.node);
        };
        let text = match attempt.item {
            Some(item) => format!("{}{item}", attempt.node),
            None => attempt.node.clone(),
        };
        let kinds: Vec<Kind> = self.cores[attempt.worker]
            .output_kinds(start.executor)
            .unwrap()
            .collect();
        let outputs: Vec<Output> = kinds
            .iter()
            .map(|kind| match kind {
                Kind::List => {
                    let items =
                        ["x", "y"].map(|item| Piece::Own(self.made(&(text.clone() + item))));
                    Output::List(items.to_vec())
                }
                Kind::Bytes | Kind::Value => Output::One(Piece::Own(self.made(&text))),
            })
            .collect();
        let core = &mut self.cores[attempt.worker];
        core.completed_measured(self.now_ns, start.executor, start.activation, &outputs, cpu)
            .unwrap();
    }

    /// A node's activation fails.
    pub(crate) fn fail(&mut self, node: &str, class: ErrorClass, cause: &str) {
        let attempt = self.take(node);
        self.fail_taken(&attempt, class, cause);
    }

    /// This activation, which runs, fails.
    pub(crate) fn fail_attempt(&mut self, attempt: &Attempt, class: ErrorClass, cause: &str) {
        self.take_attempt(attempt);
        self.fail_taken(attempt, class, cause);
    }

    /// The executor that runs a node is ended, and why.
    pub(crate) fn executor_dies(&mut self, node: &str, cause: &str) {
        let attempt = self.take(node);
        let What::Start(start) = attempt.what else {
            panic!("the lane evaluates {node}");
        };
        let core = &mut self.cores[attempt.worker];
        core.executor_condemned(self.now_ns, start.executor, cause);
        core.executor_left(self.now_ns, start.executor, cause);
        self.waiting_for_room.remove(&start.executor);
        self.settle();
    }

    /// All executors are to be replaced.
    pub(crate) fn replace_all(&mut self) {
        for worker in 0..self.cores.len() {
            for executor in 0..EXECUTORS {
                self.cores[worker].replace_executor(self.now_ns, ExecutorId(executor));
            }
        }
        self.settle();
    }

    /// Executors that were told to end have done so.
    pub(crate) fn stopped_have_left(&mut self) {
        for (worker, id) in std::mem::take(&mut self.leaving) {
            self.cores[worker].executor_left(self.now_ns, id, "it was told to end");
        }
        self.settle();
    }

    /// Where the executor is that runs a node.
    pub(crate) fn place_of(&self, node: &str) -> ExecutorId {
        self.start_of(node).executor
    }

    /// An executor joins the first worker in a place that is free.
    pub(crate) fn executor_joins_at(&mut self, place: ExecutorId) {
        self.cores[0].executor_joined(self.now_ns, place, DEPLOYMENT, 0);
        self.settle();
    }

    /// One executor more joins each worker.
    pub(crate) fn executors_join(&mut self) {
        for core in &mut self.cores {
            core.executor_joined(self.now_ns, ExecutorId(0), DEPLOYMENT, 0);
        }
        self.settle();
    }

    pub(super) fn fail_taken(&mut self, attempt: &Attempt, class: ErrorClass, cause: &str) {
        let What::Start(start) = attempt.what else {
            panic!("the lane evaluates {}", attempt.node);
        };
        let core = &mut self.cores[attempt.worker];
        core.failed(
            self.now_ns,
            start.executor,
            start.activation,
            class,
            cause.into(),
        )
        .unwrap();
        self.settle();
    }

    /// This switch of an item, which is to be evaluated, chooses a case.
    pub(crate) fn choose_attempt(&mut self, attempt: &Attempt, case: u16) {
        let What::Evaluate(evaluate) = attempt.what else {
            panic!("an executor runs {}", attempt.node);
        };
        self.take_attempt(attempt);
        let chosen = Evaluated::Case(Some(case));
        self.cores[attempt.worker].evaluated(self.now_ns, evaluate.ticket, chosen);
        self.settle();
    }

    /// A switch chooses a case.
    pub(crate) fn choose(&mut self, node: &str, case: Option<u16>) {
        self.evaluated(node, Evaluated::Case(case));
    }

    /// A computing node gives a value.
    pub(crate) fn compute(&mut self, node: &str, text: &str) {
        let value = Incoming::One(self.fresh(text));
        self.evaluated(node, Evaluated::Values(vec![value]));
    }

    pub(crate) fn evaluated(&mut self, node: &str, evaluated: Evaluated) {
        let attempt = self.take(node);
        let What::Evaluate(evaluate) = attempt.what else {
            panic!("an executor runs {node}");
        };
        self.cores[attempt.worker].evaluated(self.now_ns, evaluate.ticket, evaluated);
        self.settle();
    }

    /// A node is to wait for so long.
    pub(crate) fn wait(&mut self, node: &str, delay_ms: u64) {
        let delay_ns = delay_ms * 1_000_000;
        self.evaluated(node, Evaluated::Waits { delay_ns });
    }

    /// An activation returns this input as its one output; whether it may.
    pub(crate) fn pass_on(&mut self, node: &str, input: u16) -> Result<(), CompletionError> {
        self.pass(node, input, None)
    }

    /// An activation returns this item of its only list as its one output; whether it may.
    pub(crate) fn pass_item_on(&mut self, node: &str, item: u32) -> Result<(), CompletionError> {
        self.pass(node, 0, Some(item))
    }

    pub(super) fn pass(
        &mut self,
        node: &str,
        input: u16,
        item: Option<u32>,
    ) -> Result<(), CompletionError> {
        let attempt = self.take(node);
        let What::Start(start) = attempt.what else {
            panic!("the lane evaluates {node}");
        };
        let piece = Piece::Alias {
            input,
            item,
            offset: 0,
            length: 1,
        };
        let core = &mut self.cores[attempt.worker];
        let (executor, activation) = (start.executor, start.activation);
        let passed = core.completed(self.now_ns, executor, activation, &[Output::One(piece)]);
        if passed.is_err() {
            self.running.push(attempt);
        }
        self.settle();
        passed
    }

    /// All that runs ends well, and all that this starts; switches choose their first case, and nothing computed is waited
    /// for.
    pub(crate) fn end_all(&mut self) {
        while let Some(attempt) = self.running.first().cloned() {
            match attempt.what {
                What::Start(_) => self.end(&attempt.node),
                What::Evaluate(evaluate) => self.evaluate_simply(&attempt.node, evaluate.part()),
            }
        }
    }

    /// A switch chooses its first case; what would wait does not.
    pub(super) fn evaluate_simply(&mut self, node: &str, part: Part) {
        match part {
            Part::Work => self.choose(node, Some(0)),
            Part::Delay => self.wait(node, 0),
        }
    }

    pub(super) fn starts(&mut self, attempt: Attempt) {
        self.running.push(attempt.clone());
        self.started.push(attempt);
    }
}
