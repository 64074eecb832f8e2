//! Frames to begin with: one of every kind, and the plans of random workflows.

use crate::plans::{DeploymentName, Placement, plans};
use crate::random::Random;
use crate::workflow::Workflow;
use crate::workflow::random::{Shape, Timeouts};
use engine::plan::{Balance, DeploymentId, Limits, Part, Replica, Share};
use engine::profile::{CpuSums, Distribution};
use engine::trace::{ClockId, PartTrace, TraceEnd, TraceRecord};
use engine::wire::{
    Answer, Begin, Body, Cancel, Challenge, Control, ControlReply, Data, Deployed, DeployedNode,
    Drained, Echo, Failure, Forget, Grant, Heartbeat, Hello, Invoke, LentRange, LinkFigures,
    LinkWish, Load, MeasuredNode, NodeReport, Outcome, PROBE_FILL_BYTES, PartDone, PartFailed,
    Probe, ProfilePage, Refused, Role, Sources, StateEvent, Welcome, WorkerDescription, encode,
};
use faasstore::Cancelled;
use faasstore::binding::{FunctionDescription, TypedPort};

/// Workflows at random, whose plans frames carry.
const PLANS: u64 = 24;

fn profile_page(deployment: DeploymentId) -> ProfilePage {
    let mut times = Distribution::default();
    for time in [0, 1, 90, 90, 5_000, 1 << 40] {
        times.record(time);
    }
    let times = times.to_wire();
    ProfilePage {
        deployment,
        version: 3,
        invocations: 10,
        measured: 6,
        nodes: vec![MeasuredNode {
            id: 1,
            name: "n".to_owned(),
            has_executor: true,
            reads: vec![(0, vec![0, 2])],
            over: Some((0, 2)),
            activations: 12,
            failures: 1,
            ran: 6,
            run_ns: times.clone(),
            queued_ns: times.clone(),
            cpu: CpuSums {
                runs: 3,
                run_ns: 90,
                cpu_ns: 40,
                waited_ns: 20,
            },
            outputs: vec![("out".to_owned(), times.clone())],
            items: Some(times),
        }],
        next: Some(2),
    }
}

/// A frame of every kind; the plans of random workflows among them.
#[must_use]
pub fn frames() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut frame = |encoded: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encoded(&mut bytes);
        all.push(bytes);
    };
    let body = |length: u64| Body {
        items: None,
        section: None,
        schema: length,
        data: Data::Inline(vec![7; length as usize]),
    };
    let list = Body {
        items: Some(vec![3, 0, 5]),
        section: None,
        schema: 0,
        data: Data::Inline(vec![1; 48]),
    };
    let streamed = Body {
        items: Some(vec![1 << 40; 2]),
        section: None,
        schema: 0,
        data: Data::Streamed {
            transfer: 1,
            bytes: 1 << 41,
        },
    };
    let range = |bytes| LentRange {
        segment: 1,
        generation: 0,
        offset: 64,
        bytes,
    };
    let lent = Body {
        items: Some(vec![1 << 20, 0, 5]),
        section: None,
        schema: 0,
        data: Data::Lent {
            transfer: 2,
            ranges: vec![range(1 << 20), range(5)],
        },
    };
    let outputs = vec![(0, body(5)), (1, list.clone()), (2, streamed), (3, lent)];
    let named = vec![("text".to_owned(), body(20)), ("items".to_owned(), list)];
    let deployment = DeploymentId(1);
    let failure = Failure::Node {
        node: "n".to_owned(),
        worker: "w".to_owned(),
        attempt: 2,
        cause: "no".to_owned(),
    };
    let sources = Sources {
        files: vec![("w.yaml".to_owned(), "workflow: w".to_owned())],
        terms: "{}".to_owned(),
    };
    for plan in random_plans() {
        frame(&|out| encode(&Control::Prepare(plan.clone()), out));
    }
    for control in [
        Control::Describe,
        Control::Activate(deployment),
        Control::Undeploy("flow".to_owned()),
        Control::Keep {
            deployment,
            sources: sources.clone(),
        },
        Control::Deployed {
            workflow: "flow".to_owned(),
            placement: 2,
        },
        Control::Profile {
            workflow: "flow".to_owned(),
            placement: 1,
            from: 7,
        },
        Control::ForgetProfile("flow".to_owned()),
        Control::MeasureLink(LinkWish {
            worker: "b".to_owned(),
            address: "b:7400".to_owned(),
            round_trips: 100,
            bytes: 1 << 26,
        }),
        Control::Functions(vec!["e".to_owned(), "f".to_owned()]),
    ] {
        frame(&|out| encode(&control, out));
    }
    frame(&|out| {
        encode(
            &Challenge {
                nonce: [3; 32],
                worker: "w".to_owned(),
            },
            out,
        )
    });
    let peer = Role::Peer {
        worker: "w".to_owned(),
        epoch: 1,
        from_lane: 0,
        to_lane: 1,
        next_sequence: 7,
        bulk: 3,
        host: Some(engine::wire::HostToken([4; 32])),
    };
    let bulk = Role::Bulk {
        worker: "w".to_owned(),
        epoch: 1,
        from_lane: 0,
        to_lane: 1,
        bulk: 3,
    };
    let measurer = Role::Measurer {
        worker: "w".to_owned(),
    };
    for role in [Role::Control, Role::Client, peer, bulk, measurer] {
        let hello = Hello {
            role,
            nonce: [1; 32],
            proof: [2; 32],
        };
        frame(&|out| encode(&hello, out));
    }
    frame(&|out| {
        encode(
            &Welcome {
                proof: [2; 32],
                epoch: 3,
                socket: Some("faasflow-1".to_owned()),
            },
            out,
        )
    });
    frame(&|out| {
        encode(
            &Refused {
                reason: "no".to_owned(),
            },
            out,
        )
    });
    let description = WorkerDescription {
        name: "w".to_owned(),
        epoch: 1,
        lanes: 2,
        cpus: vec![0, 1],
        memory_bytes: 1 << 30,
        memory_reserved_bytes: 1 << 20,
        executables: vec!["x".to_owned()],
        workflows: vec![("flow".to_owned(), 1)],
    };
    let typed = TypedPort {
        port: Some("in".to_owned()),
        schema: "rkyv:struct{a:u8}".to_owned(),
    };
    let described = FunctionDescription {
        name: "f".to_owned(),
        inputs: vec![typed.clone()],
        outputs: vec![TypedPort {
            port: None,
            ..typed
        }],
    };
    for reply in [
        ControlReply::Done,
        ControlReply::Refused("no".to_owned()),
        ControlReply::Description(description),
        ControlReply::Status("{}".to_owned()),
        ControlReply::Deployed(Deployed {
            replica: Replica::only(deployment),
            version: 3,
            workers: Vec::new(),
            nodes: vec![DeployedNode {
                id: 1,
                name: "n".to_owned(),
                part: Some(Part {
                    number: 0,
                    of: 2,
                    share: Share {
                        first: 0,
                        behind: 1,
                        whole: 3,
                    },
                }),
            }],
            wholes: vec![(9, vec![1, 2])],
            sources: Some(sources),
        }),
        ControlReply::Profile(profile_page(deployment)),
        ControlReply::Link(LinkFigures {
            round_trips: 100,
            latency_ns: 40_000,
            bytes: 1 << 25,
            transfer_ns: 1 << 28,
        }),
        ControlReply::Functions(vec![vec![described], Vec::new()]),
    ] {
        frame(&|out| encode(&reply, out));
    }
    let trace = PartTrace {
        worker: "a".to_owned(),
        clock: ClockId(7),
        began_ns: 1,
        nodes: vec![(1, "count".to_owned())],
        records: vec![TraceRecord {
            ready_ns: 1,
            started_ns: 2,
            ended_ns: 3,
            node: 1,
            item: 4,
            outer_at: 0,
            outer_count: 1,
            attempt: 1,
            executor: 0,
            end: TraceEnd::Well,
        }],
        outer: vec![3],
        dropped: 0,
    };
    let invoke = Invoke {
        request: 1,
        workflow: "flow".to_owned(),
        inputs: named.clone(),
        report: true,
        trace: true,
    };
    frame(&|out| encode(&invoke, out));
    frame(&|out| encode(&Cancel { request: 1 }, out));
    let results = [
        Ok(named.clone()),
        Err(failure.clone()),
        Err(Failure::Cancelled),
    ];
    for result in results {
        let answer = Answer {
            request: 1,
            invocation: 1 << 100,
            latency_ns: 5,
            result,
            report: Vec::<NodeReport>::new(),
            trace: vec![trace.clone()],
        };
        frame(&|out| encode(&answer, out));
    }
    let begin = Begin {
        invocation: 5,
        deployment,
        report: false,
        trace: true,
        inputs: outputs.clone(),
    };
    frame(&|out| encode(&begin, out));
    let load = Load {
        active: 7,
        executors: 2,
        begun_next: 5,
    };
    for outcome in [
        Outcome::Well,
        Outcome::Chose(1),
        Outcome::Caught(0),
        Outcome::Failed("no".to_owned()),
    ] {
        let event = StateEvent {
            invocation: 5,
            deployment,
            node: 1,
            outcome,
            outputs: outputs.clone(),
            load: Some(load),
        };
        frame(&|out| encode(&event, out));
    }
    let done = PartDone {
        invocation: 5,
        deployment,
        outputs: outputs.clone(),
        report: Vec::new(),
        trace: Some(Box::new(trace.clone())),
        load: None,
    };
    frame(&|out| encode(&done, out));
    frame(&|out| {
        encode(
            &PartFailed {
                invocation: 5,
                failure: failure.clone(),
                report: Vec::new(),
                trace: Some(Box::new(trace.clone())),
            },
            out,
        )
    });
    frame(&|out| {
        encode(
            &Forget {
                invocation: 5,
                why: Cancelled::ByClient,
            },
            out,
        )
    });
    frame(&|out| encode(&Drained { deployment }, out));
    let heartbeat = Heartbeat {
        interval_ms: 500,
        loads: vec![(deployment, load)],
    };
    frame(&|out| encode(&heartbeat, out));
    let payloads = vec![(7, 1 << 20), (8, 4096)];
    frame(&|out| {
        encode(
            &Grant {
                payloads: payloads.clone(),
            },
            out,
        )
    });
    frame(&|out| encode(&Probe::new(1), out));
    let echo = Echo {
        number: 1,
        received_bytes: 1 << 20,
        at_ns: 1 << 30,
        fill: [0; PROBE_FILL_BYTES],
    };
    frame(&|out| encode(&echo, out));
    all
}

fn random_plans() -> impl Iterator<Item = engine::plan::Plan> {
    let shape = Shape {
        nodes_max: 8,
        attempts_max: 3,
        timeouts: Timeouts::Sometimes,
    };
    (0..PLANS).flat_map(move |seed| {
        let mut random = Random::new(seed);
        let workflow = Workflow::random(&mut random, shape);
        let count = random.between(1, 3);
        let placement = Placement::random(&mut random, &workflow, vec![2; count]);
        let name = DeploymentName {
            id: DeploymentId(1),
            replica: Replica {
                balance: random.pick(&[Balance::RoundRobin, Balance::Load]),
                count: random.between(1, 3) as u16,
                ..Replica::only(DeploymentId(1))
            },
            workflow: "flow".to_owned(),
            version: 1,
        };
        plans(&workflow, &placement, &name, Limits::default())
    })
}
