//! Activations in a simulated cluster: started, returned, failed, lied about, and lost with their executors.

use super::Cluster;
use super::clients::Outcome;
use super::lane::{Attempts, GRACE_NS, Run, State};
use super::windows::Walk;
use crate::functions::{Made, MadeOutput, compute};
use crate::reference::{failures, returned_kinds, wait_ns_after};
use crate::trace::Ending;
use crate::workflow::random::ERROR_NAMES;
use engine::core::{CompletionError, ExecutorId, Output, Piece, Start};
use engine::plan::{ErrorClass, NodeId};
use faasstore::descriptor::NO_ITEM;

impl Cluster {
    /// Hands an activation to its executor.
    pub(super) fn hand_over(&mut self, lane: usize, start: &Start) {
        let place = start.executor.0 as usize;
        let (node, _) = self.lanes[lane].core.started_node(start);
        if let Some(attempts) = self.attempts_at(lane, place, node) {
            attempts.first += u64::from(start.attempt == 1);
            attempts.all += 1;
        }
        let state = self.lanes[lane].executors[place]
            .as_ref()
            .map(|executor| &executor.state);
        match state {
            Some(State::Idle) => {}
            // It went while the actions before this one were carried out, and the core knows.
            Some(State::Ended) => return self.lanes[lane].reads_unseen(),
            other => panic!("a start for an executor that is {other:?}"),
        }
        self.sees_start(lane, start);
        let (node, invocation) = self.lanes[lane].core.started_node(start);
        let mut inputs = self.lanes[lane].inputs_of(start);
        self.inputs_ordered(start, &mut inputs);
        let seen = self.read_before(lane, start, &inputs);
        let now = self.now();
        let asked = &mut self.asked[self.by_id[&invocation]];
        let deployed = &self.scenario.deployments[asked.deployment];
        let planned = deployed.plans[self.lanes[lane].worker]
            .nodes
            .iter()
            .find(|planned| planned.id == node);
        let (planned_node, node) = (node, deployed.written(node));
        let plan = &deployed.workflow.nodes[node as usize];
        let again = plan.retriers.iter().map(|retry| retry.attempts - 1);
        let attempts_max = 1 + again.sum::<u32>();
        assert!(
            (1..=attempts_max).contains(&start.attempt),
            "attempt {}",
            start.attempt
        );
        let mut items: Vec<u32> = self.lanes[lane].core.started_items(start).collect();
        items.reverse();
        assert_eq!(items.last().copied().unwrap_or(NO_ITEM), start.item);
        assert_eq!(deployed.workflow.depth(plan.region), items.len());
        let executor = self.lanes[lane].executors[place].as_ref();
        let serves = executor.map(|executor| (executor.deployment, executor.executable));
        assert_eq!(
            serves,
            planned
                .and_then(|planned| planned.work.executable())
                .map(|executable| (asked.deployment, executable))
        );
        let timed = plan.timeout_ms.is_some();
        assert_eq!(timed, start.deadline_ns.is_some());
        assert!(
            !asked.forgotten.contains_key(&lane),
            "started at lane {lane}, where its invocation is over: node {node}"
        );
        asked
            .trace
            .starts((node, items.clone()), start.attempt, now, seen.clone());
        let salt = deployed.workflow.salt;
        let kinds = returned_kinds(plan);
        let item = items.last().copied();
        let made = || compute(salt, node, item, &seen, &kinds);
        let walk = Walk::over(&inputs, made, &mut self.random);
        let crowding = self.crowding();
        let run = Run {
            walk,
            crowding,
            activation: start.activation,
            invocation,
            node,
            planned: planned_node,
            items,
            attempt: start.attempt,
            inputs,
            seen,
            deadline_ns: start.deadline_ns,
            hangs: timed && self.random.chance(self.scenario.faults.hangs),
        };
        if let Some(executor) = self.lanes[lane].executors[place].as_mut() {
            executor.state = State::Running(run);
        }
        if self.random.chance(self.scenario.faults.start_errors) {
            self.start_goes_wrong(lane, start);
        }
    }

    fn start_goes_wrong(&mut self, lane: usize, start: &Start) {
        let place = start.executor.0 as usize;
        if self.random.chance(500) {
            self.end_executor(lane, place, "its ring is full");
            return;
        }
        let run = self.running(lane, place).expect("it was started just now");
        self.rest(lane, place);
        self.attempt_fails(lane, start.executor, &run, ErrorClass::Memory, "no memory");
    }

    /// A function returns, well or not.
    pub(super) fn function_returns(&mut self, lane: usize, place: usize) {
        let run = self.running(lane, place).expect("only what runs returns");
        let faults = self.scenario.faults;
        if let Some((class, cause)) = run.gives_up().or(run.found_no_room()) {
            self.rest(lane, place);
            let id = ExecutorId(place as u32);
            self.attempt_fails(lane, id, &run, class, cause);
        } else if self.random.chance(faults.lies) {
            self.executor_lies(lane, place, &run);
        } else if self.random.chance(faults.failures) {
            self.rest(lane, place);
            let (class, cause) = self.error();
            let id = ExecutorId(place as u32);
            self.attempt_fails(lane, id, &run, class, &cause);
        } else {
            self.function_returns_well(lane, place, &run);
        }
        self.act(lane);
        let left = self.lanes[lane].foreseen.take();
        assert_eq!(left, None, "foreseen, and never ordered");
    }

    fn function_returns_well(&mut self, lane: usize, place: usize, run: &Run) {
        let outputs = self.outputs_of((lane, place), &self.made_by(lane, run));
        self.rest(lane, place);
        let now = self.now();
        let over = {
            let asked = &mut self.asked[self.by_id[&run.invocation]];
            let activation = (run.node, run.items.clone());
            asked.trace.ends(activation, run.attempt, now, Ending::Well);
            asked.is_over()
        };
        let now_ns = self.lanes[lane].event_ns(self.now_ns);
        let id = ExecutorId(place as u32);
        let kinds = self.lanes[lane]
            .core
            .output_kinds(id)
            .map(|kinds| kinds.len());
        assert_eq!(kinds, Some(outputs.len()));
        let foreseen = self.foresee(lane, id, run.activation, &outputs);
        let completed = self.lanes[lane]
            .core
            .completed(now_ns, id, run.activation, &outputs);
        assert_eq!(completed, Ok(()), "{run:?}, over: {over}");
        self.lanes[lane].foreseen = foreseen;
        self.lanes[lane].accepted += 1;
        if let Some(attempts) = self.attempts_at(lane, place, run.planned) {
            attempts.well += 1;
        }
    }

    /// Where attempts are counted of a node that the executor in a place runs.
    fn attempts_at(&mut self, lane: usize, place: usize, node: NodeId) -> Option<&mut Attempts> {
        let lane = &mut self.lanes[lane];
        let executor = lane.executors.get(place)?.as_ref()?;
        let id = self.scenario.deployments[executor.deployment].name.id;
        Some(lane.attempts.entry((id, node)).or_default())
    }

    /// What the function makes of its inputs, which it reads as late as it can.
    fn outputs_of(&mut self, (lane, place): (usize, usize), run: &Run) -> Vec<Output> {
        let inputs = self.lanes[lane].read_again(run);
        assert_eq!(inputs, run.seen, "inputs have changed: {run:?}");
        let workflow =
            &self.scenario.deployments[self.asked[self.by_id[&run.invocation]].deployment].workflow;
        let item = run.items.last().copied();
        let kinds = returned_kinds(&workflow.nodes[run.node as usize]);
        let mut made = compute(workflow.salt, run.node, item, &inputs, &kinds);
        if self.scenario.worst.is_some() {
            // As lanes do with what would keep more than it declares.
            made.iter_mut().for_each(|output| output.copy(&inputs));
        }
        let memory = &mut self.lanes[lane].memory;
        let mut piece = |made: &Made| match made {
            Made::Fresh(bytes) if bytes.is_empty() => Piece::Empty,
            Made::Fresh(bytes) => Piece::Own(memory.commit_in(place, bytes.clone())),
            Made::Part {
                input,
                item,
                offset,
                length,
            } => Piece::Alias {
                input: *input,
                item: *item,
                offset: *offset,
                length: *length,
            },
        };
        made.iter()
            .map(|output| match output {
                MadeOutput::One(made) => Output::One(piece(made)),
                MadeOutput::List(items) => Output::List(items.iter().map(&mut piece).collect()),
            })
            .collect()
    }

    /// What cannot be is refused, changes nothing, and ends the executor.
    fn executor_lies(&mut self, lane: usize, place: usize, run: &Run) {
        let id = ExecutorId(place as u32);
        let workflow =
            &self.scenario.deployments[self.asked[self.by_id[&run.invocation]].deployment].workflow;
        let declared = returned_kinds(&workflow.nodes[run.node as usize]).len();
        let before = (
            self.lanes[lane].core.counters(),
            self.lanes[lane].core.leases().count(),
        );
        let lie = self.random.below(3);
        let (activation, outputs) = match lie {
            0 => (
                run.activation.wrapping_sub(1),
                vec![Output::One(Piece::Empty); declared],
            ),
            1 => (
                run.activation,
                vec![Output::One(Piece::Empty); declared + 1],
            ),
            _ => {
                let beyond = Piece::Alias {
                    input: 0,
                    item: Some(u32::MAX - 1),
                    offset: 0,
                    length: 1,
                };
                (
                    run.activation,
                    vec![Output::List(vec![beyond]); declared.max(1)],
                )
            }
        };
        let now_ns = self.lanes[lane].event_ns(self.now_ns);
        let refused = self.lanes[lane]
            .core
            .completed(now_ns, id, activation, &outputs);
        match lie {
            0 => assert_eq!(refused, Err(CompletionError::Activation)),
            _ => assert!(
                refused.is_err(),
                "outputs that cannot be were accepted: {outputs:?}"
            ),
        }
        let after = (
            self.lanes[lane].core.counters(),
            self.lanes[lane].core.leases().count(),
        );
        assert_eq!(
            before, after,
            "a completion that was refused has changed something"
        );
        self.end_executor(lane, place, "it completed what cannot be");
    }

    /// The core ends an executor only for what it runs (too long, or for an invocation that is over), or when it was told
    /// to end and has not.
    pub(super) fn judge_kill(&self, lane: usize, place: usize, cause: &str) {
        let executor = self.lanes[lane].executors[place].as_ref();
        if let Some(State::Stopping { told_ns }) = executor.map(|executor| &executor.state) {
            assert!(
                told_ns + GRACE_NS <= self.now_ns,
                "ended too soon ({cause})"
            );
            return;
        }
        let Some(run) = self.running(lane, place) else {
            panic!("the core ends an executor that runs nothing");
        };
        let late = run
            .deadline_ns
            .is_some_and(|deadline_ns| deadline_ns <= self.now_ns);
        let asked = &self.asked[self.by_id[&run.invocation]];
        let may_be_over = asked.is_over()
            || asked.has_failures()
            || asked.timed
            || asked.payload_refused
            || asked.payload_lost
            || !self.lost_workers.is_empty()
            || !self.refused_executables.is_empty();
        assert!(
            late || may_be_over && !says_timeout(cause),
            "ended without a reason ({cause}): {run:?}"
        );
        if let Some(executor) = executor.filter(|_| !late) {
            self.judge_patience(executor, &run);
        }
    }

    /// Once a core knows the time, nothing goes on beyond its deadline.
    pub(super) fn judge_deadlines(&self, lane: usize) {
        let now_ns = self.lanes[lane].told_ns;
        for executor in self.lanes[lane].executors.iter().flatten() {
            if let State::Running(run) = &executor.state {
                let late = run.deadline_ns.is_some_and(|due_ns| due_ns <= now_ns);
                assert!(!late, "it runs beyond its deadline: {run:?}");
            }
        }
        for asked in self.asked.iter().filter(|asked| asked.lane == lane) {
            let workflow = &self.scenario.deployments[asked.deployment].workflow;
            let due = workflow
                .timeout_ms
                .map(|timeout_ms| asked.trace.asked.after_ms(timeout_ms));
            let late = due.is_some_and(|due| due.ns <= now_ns);
            let open = asked.outcome == Outcome::Open && !asked.is_over();
            assert!(!(late && open), "it goes on beyond its workflow's timeout");
        }
    }

    /// Ends an executor at once: nothing that it still says is heard.
    pub(super) fn end_executor(&mut self, lane: usize, place: usize, cause: &str) {
        let Some(executor) = self.lanes[lane].executors[place].as_mut() else {
            panic!("the core ends an executor that is not there");
        };
        match std::mem::replace(&mut executor.state, State::Ended) {
            State::Ended => return,
            stopping @ State::Stopping { .. } => executor.state = stopping,
            State::Idle => {}
            State::Running(run) => {
                // That its time is over counts once the core has seen it.
                let class = match says_timeout(cause) {
                    true => ErrorClass::Timeout,
                    false => ErrorClass::Crash,
                };
                self.attempt_is_lost(&run, class, cause);
            }
        }
        let (now_ns, id) = (self.now_ns, ExecutorId(place as u32));
        self.lanes[lane].core.executor_condemned(now_ns, id, cause);
    }

    /// The core tells an executor to end: it runs nothing. It may have been ended already.
    pub(super) fn stop_executor(&mut self, lane: usize, place: usize) {
        let told_ns = self.lanes[lane].told_ns;
        let Some(executor) = self.lanes[lane].executors[place].as_mut() else {
            panic!("the core stops an executor that is not there");
        };
        if matches!(executor.state, State::Ended) {
            return;
        }
        assert!(
            matches!(executor.state, State::Idle),
            "stopped while {:?}",
            executor.state
        );
        executor.state = State::Stopping { told_ns };
    }

    /// The process of an executor that was ended or told to end has gone; its place is free.
    pub(super) fn executor_exits(&mut self, lane: usize, place: usize) {
        if let Some(run) = self.running(lane, place) {
            self.attempt_is_lost(&run, ErrorClass::Crash, "it ended");
        }
        self.lanes[lane].executors[place] = None;
        self.lanes[lane].memory.disown(place);
        let (now_ns, id) = (
            self.lanes[lane].exact_ns(self.now_ns),
            ExecutorId(place as u32),
        );
        // If its deployment has gone, the core has let go of it already: this changes nothing then.
        self.lanes[lane].core.executor_left(now_ns, id, "it ended");
        self.act(lane);
    }

    pub(super) fn an_executor_dies(&mut self) {
        let lane = self.random.below(self.lanes.len());
        if !self.lanes[lane].alive || self.lanes[lane].executors.is_empty() {
            return;
        }
        let place = self.random.below(self.lanes[lane].executors.len());
        let executor = self.lanes[lane].executors[place].as_ref();
        if executor
            .is_some_and(|executor| matches!(executor.state, State::Idle | State::Running(_)))
        {
            if self.random.chance(500) {
                self.end_executor(lane, place, "it broke a rule");
                self.act(lane);
                return;
            }
            self.executor_exits(lane, place);
        }
    }

    /// A lane wants the memory back that one of its executors may keep.
    pub(super) fn an_executor_is_replaced(&mut self) {
        let lane = self.random.below(self.lanes.len());
        if !self.lanes[lane].alive || self.lanes[lane].executors.is_empty() {
            return;
        }
        let place = self.random.below(self.lanes[lane].executors.len());
        let executor = self.lanes[lane].executors[place].as_ref();
        if executor
            .is_some_and(|executor| matches!(executor.state, State::Idle | State::Running(_)))
        {
            let (now_ns, id) = (
                self.lanes[lane].exact_ns(self.now_ns),
                ExecutorId(place as u32),
            );
            self.lanes[lane].core.replace_executor(now_ns, id);
            self.act(lane);
        }
    }

    /// An executor that the core has asked for has greeted, or could not be started.
    pub(super) fn start_executor(&mut self, lane: usize, index: usize) {
        let (id, executable) = self.lanes[lane].starting.swap_remove(index);
        let deployment = self.deployment(id);
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        if self.random.chance(self.scenario.faults.refused_executors) {
            let worker = self.lanes[lane].worker;
            let name = self.scenario.deployments[deployment].plans[worker].executables
                [usize::from(executable)]
            .name
            .clone();
            self.refused_executables
                .insert((self.worker_name(lane), name));
            self.lanes[lane]
                .core
                .executor_refused(now_ns, id, executable, "no memory");
        } else {
            let place = self.lanes[lane].seat(deployment, executable);
            self.lanes[lane]
                .core
                .executor_joined(now_ns, place, id, executable);
        }
        self.act(lane);
    }

    /// An attempt of a running activation comes to nothing.
    fn attempt_is_lost(&mut self, run: &Run, class: ErrorClass, cause: &str) {
        let now = self.now();
        let asked = &mut self.asked[self.by_id[&run.invocation]];
        let ending = Ending::Failed(class, cause.to_owned());
        asked
            .trace
            .ends((run.node, run.items.clone()), run.attempt, now, ending);
    }

    /// An executor says that what it ran has failed.
    fn attempt_fails(
        &mut self,
        lane: usize,
        id: ExecutorId,
        run: &Run,
        class: ErrorClass,
        cause: &str,
    ) {
        self.attempt_is_lost(run, class, cause);
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        let retries = self.lanes[lane].core.counters().retries;
        let class = self.class_taken(class);
        let failed =
            self.lanes[lane]
                .core
                .failed(now_ns, id, run.activation, class, cause.to_owned());
        assert_eq!(failed, Ok(()));
        if self.lanes[lane].core.counters().retries == retries {
            return;
        }
        // It is tried again, and not too late: unless at once, a timer is set for it.
        let asked = &self.asked[self.by_id[&run.invocation]];
        let workflow = &self.scenario.deployments[asked.deployment].workflow;
        let retriers = &workflow.nodes[run.node as usize].retriers;
        let attempts = &asked.trace.activations[&(run.node, run.items.clone())];
        let failed: Vec<_> = failures(attempts).collect();
        let wait_ns = wait_ns_after(retriers, &failed);
        let (least_ns, most_ns) =
            wait_ns.unwrap_or_else(|| panic!("{run:?} is tried again after {failed:?}"));
        let due_ns = self.lanes[lane].core.next_timer_ns();
        assert!(
            least_ns == 0 || due_ns.is_some_and(|due_ns| due_ns <= now_ns + most_ns),
            "attempt {} waits beyond {most_ns} ns: {due_ns:?}",
            run.attempt + 1
        );
    }

    /// What a function may say when it fails.
    fn error(&mut self) -> (ErrorClass, String) {
        let class = self.random.pick(&[
            ErrorClass::Error,
            ErrorClass::Error,
            ErrorClass::Error,
            ErrorClass::Input,
            ErrorClass::Output,
            ErrorClass::Panic,
            ErrorClass::Memory,
        ]);
        let name = self.random.pick(&ERROR_NAMES);
        let cause = match self.random.below(5) {
            0 | 1 => format!("{name}: it said no"),
            2 => format!("{name}er: it said no"),
            3 => name.to_owned(),
            _ => format!("it said {name}: no"),
        };
        (class, cause)
    }

    pub(super) fn has_ended(&self, lane: usize, place: usize) -> bool {
        let executor = self.lanes[lane].executors[place].as_ref();
        executor.is_some_and(|executor| matches!(executor.state, State::Ended))
    }

    pub(super) fn running(&self, lane: usize, place: usize) -> Option<Run> {
        match self.lanes[lane].executors[place]
            .as_ref()
            .map(|executor| &executor.state)
        {
            Some(State::Running(run)) => Some(run.clone()),
            _ => None,
        }
    }

    fn rest(&mut self, lane: usize, place: usize) {
        if let Some(executor) = self.lanes[lane].executors[place].as_mut() {
            executor.state = State::Idle;
        }
    }
}

/// Whether a core ends an executor for what it runs having exceeded its timeout.
fn says_timeout(cause: &str) -> bool {
    cause.starts_with("it exceeded its timeout")
}
