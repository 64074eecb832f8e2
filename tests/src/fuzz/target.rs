//! What is fuzzed. Each target takes any bytes, must not panic, and says what came of them.

use super::mutation::Form;
use super::{frames, seeds, words};
use engine::core::{Core, CoreConfig, Incoming};
use engine::expression::Expression;
use engine::plan::{Delay, DeploymentId, Formula, Limits, Plan, Replica, Work, WorkerRef};
use engine::profile::Distribution;
use engine::trace::ClockId;
use engine::wire;
use faasstore::binding::Kind;
use faasstore::descriptor::PayloadRef;
use master::certificate::{Bounds, certify};
use master::definition::{self, Definition};
use master::draw;
use master::graph::Graph;
use master::import::{self, Format, ImportError};
use master::place::{self, WorkerCapacity, place};
use master::planner::{self, Terms};
use miette::{GraphicalReportHandler, GraphicalTheme};
use std::fmt::Display;

/// What is fuzzed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// A definition: read, and if it is one, placed, planned, checked, compiled and deployed. What the master accepts, the
    /// worker must.
    Definition,
    /// An expression and, behind zero bytes, the values that it sees: compiled, and if it is one, evaluated.
    Expression,
    /// A frame, without its checksum: its header, its body, and a plan in it.
    Wire,
    /// A file of the published FaaSFlow: imported, and if it can be, printed, and on as a definition.
    Faasflow,
    /// The same of WfFormat.
    Wfformat,
    /// The same of a state machine.
    Asl,
    /// Not the product's: it has each kind of fault, so that a hunt can be seen to find them.
    Planted,
}

/// What came of an input.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Answer {
    /// Whether it was taken for what it should be.
    pub accepted: bool,
    /// What was said, with what differs from input to input left out.
    pub gist: String,
}

impl Answer {
    fn accepted(gist: String) -> Self {
        let accepted = true;
        Self { accepted, gist }
    }

    fn refused(why: impl Display) -> Self {
        let (accepted, gist) = (false, gist(&why.to_string()));
        Self { accepted, gist }
    }
}

impl Target {
    /// Those of the product, in the order in which they are fuzzed.
    pub const ALL: [Self; 6] = [
        Self::Definition,
        Self::Expression,
        Self::Wire,
        Self::Faasflow,
        Self::Wfformat,
        Self::Asl,
    ];

    /// As callers name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Definition => "definition",
            Self::Expression => "expression",
            Self::Wire => "wire",
            Self::Faasflow => "faasflow",
            Self::Wfformat => "wfformat",
            Self::Asl => "asl",
            Self::Planted => "planted",
        }
    }

    /// The target of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter().chain([Self::Planted]);
        all.find(|target| target.name() == name)
    }

    /// Inputs to begin with.
    #[must_use]
    pub fn seeds(self) -> Vec<Vec<u8>> {
        match self {
            Self::Definition => seeds::definitions(),
            Self::Expression => seeds::expressions(),
            Self::Wire => frames::frames(),
            Self::Faasflow => seeds::flat_workflows(),
            Self::Wfformat => seeds::instances(),
            Self::Asl => seeds::state_machines(),
            Self::Planted => vec![b"a seed without a fault".to_vec()],
        }
    }

    /// Words of its language.
    #[must_use]
    pub const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Definition => &words::DEFINITION_WORDS,
            Self::Expression => &words::EXPRESSION_WORDS,
            Self::Wire => &[],
            Self::Faasflow => &words::FAASFLOW_WORDS,
            Self::Wfformat => &words::WFFORMAT_WORDS,
            Self::Asl => &words::ASL_WORDS,
            Self::Planted => &["panic", "spin", "grow", "dive"],
        }
    }

    /// What its inputs look like.
    #[must_use]
    pub const fn form(self) -> Form {
        match self {
            Self::Wire => Form::Numbers,
            _ => Form::Text,
        }
    }

    /// Plays an input.
    ///
    /// # Panics
    /// If there is a fault: that is what it is for.
    #[must_use]
    pub fn play(self, input: &[u8]) -> Answer {
        match self {
            Self::Definition => play_definition(input),
            Self::Expression => play_expression(input),
            Self::Wire => play_frame(input),
            Self::Faasflow => play_import(Format::Faasflow, input),
            Self::Wfformat => play_import(Format::Wfformat, input),
            Self::Asl => play_import(Format::Asl, input),
            Self::Planted => play_planted(input),
        }
    }
}

fn play_definition(input: &[u8]) -> Answer {
    match definition::parse("fuzz.yaml", input) {
        Ok(definition) => Answer::accepted(follow(&definition)),
        Err(error) => {
            // Marking places in a text is work with offsets too.
            let shown = render(&error);
            let first = error.problems.first().map(ToString::to_string);
            let count = error.problems.len().min(3);
            Answer::refused(format!("{} {count}", first.unwrap_or(shown)))
        }
    }
}

fn render(error: &dyn miette::Diagnostic) -> String {
    let mut shown = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
    handler
        .render_report(&mut shown, error)
        .expect("a String takes anything");
    shown
}

fn play_import(format: Format, input: &[u8]) -> Answer {
    let draft = match import::import(format, "fuzz", input, &options(input)) {
        Ok(draft) => draft,
        Err(error) => {
            let _ = render(&error);
            let first = match &error {
                ImportError::Problems(error) => error.problems.first().map(ToString::to_string),
                _ => None,
            };
            return Answer::refused(first.unwrap_or_else(|| error.to_string()));
        }
    };
    let text = draft.to_yaml();
    match definition::parse("imported.yaml", text.as_bytes()) {
        Ok(definition) => Answer::accepted(follow(&definition)),
        Err(error) => {
            let problems: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
            panic!(
                "an import made a definition that is refused: {}",
                problems.join("; ")
            );
        }
    }
}

/// Options that follow from the input, so that a find plays again.
fn options(input: &[u8]) -> import::Options {
    let drawn = crc32fast::hash(input);
    let payload = match drawn >> 3 & 3 {
        0 => import::Payload::Bytes,
        _ => import::Payload::Value,
    };
    import::Options {
        time_scale: [0.0, 0.01, 1.0, 1000.0][(drawn >> 1 & 3) as usize],
        asl: import::AslOptions {
            payload,
            ..import::AslOptions::default()
        },
        recorded_resources: drawn & 1 == 1,
    }
}

/// A fuzzer has less patience than somebody who asks for certificates.
const CERTIFICATE_BOUNDS: Bounds = Bounds {
    diagram_steps: 10_000,
    diagram_steps_all: 100_000,
    search_steps: 10_000,
    search_steps_all: 200_000,
};

/// From a definition to what is said and drawn of it, and to lanes that have taken it in.
fn follow(definition: &Definition) -> String {
    let graph = Graph::of(definition);
    let _ = certify(definition, CERTIFICATE_BOUNDS);
    for format in [
        draw::Format::Svg,
        draw::Format::Dot,
        draw::Format::Mermaid,
        draw::Format::Text,
    ] {
        for detail in [draw::Detail::Alike, draw::Detail::All] {
            let _ = draw::draw(definition, None, format, detail);
        }
    }
    let mut gist = format!("{} nodes", bucket(graph.node_count()));
    for count in 1..=2 {
        let capacities: Vec<WorkerCapacity> = (0..count)
            .map(|worker| WorkerCapacity::new(format!("w{worker}"), 4, 4 << 30))
            .collect();
        let workers: Vec<WorkerRef> = (0..count)
            .map(|worker| WorkerRef {
                name: format!("w{worker}"),
                address: format!("127.0.0.1:{}", 7400 + worker),
                lanes: 2,
                epoch: 1,
            })
            .collect();
        let terms = Terms {
            deployment: DeploymentId(1),
            replica: Replica::only(DeploymentId(1)),
            version: 1,
            limits: Limits::default(),
        };
        match place(&graph, &capacities, &place::Options::default()) {
            Ok(placement) => {
                for plan in planner::plan(definition, &graph, &placement, &workers, terms) {
                    if let Err(error) = plan.check() {
                        panic!("the master made a plan that a worker refuses: {error}");
                    }
                    if let Err(error) = compile(&plan) {
                        panic!("the master accepted what a worker cannot compile: {error}");
                    }
                    gist.push_str(&shape(&plan));
                    deploy(plan);
                }
            }
            Err(error) => gist.push_str(&self::gist(&error.to_string())),
        }
    }
    gist
}

/// The constructs of a plan.
fn shape(plan: &Plan) -> String {
    let of = |is: &dyn Fn(&engine::plan::NodePlan) -> bool| plan.nodes.iter().any(is);
    let kinds = [
        of(&|node| matches!(node.work, Work::Switch { .. })),
        of(&|node| matches!(node.work, Work::Compute(_))),
        of(&|node| matches!(node.work, Work::Nothing)),
        of(&|node| node.delay_expressions().next().is_some()),
        of(&|node| node.region.is_some()),
        of(&|node| !node.gates.is_empty()),
        of(&|node| !node.catches.is_empty()),
        of(&|node| node.inputs.iter().any(|input| input.optional)),
        of(&|node| node.inputs.iter().any(|input| input.sources.len() > 1)),
        !plan.constants.is_empty(),
        plan.outputs.iter().any(|output| output.optional),
    ];
    kinds
        .map(|has| if has { '1' } else { '0' })
        .iter()
        .collect()
}

/// The plan's expressions, as a lane compiles them.
fn compile(plan: &Plan) -> Result<(), String> {
    for node in &plan.nodes {
        for compiled in node.delays.iter().filter_map(Delay::compile) {
            compiled.map_err(|error| error.to_string())?;
        }
        let names: Vec<&str> = node.inputs.iter().map(|input| &*input.name).collect();
        let formulas: Vec<&String> = match &node.work {
            Work::Function { .. } | Work::Nothing => continue,
            Work::Switch { conditions, .. } => {
                for text in conditions {
                    Expression::compile_condition(text, &names)
                        .map_err(|error| error.to_string())?;
                }
                continue;
            }
            Work::Compute(formulas) => formulas
                .iter()
                .flat_map(|formula| match formula {
                    Formula::Value(text) => vec![text],
                    Formula::Range { from, to } => vec![from, to],
                })
                .collect(),
        };
        for text in formulas {
            Expression::compile(text, &names).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// Has a lane's core take the plan in, open its door, and let it go.
fn deploy(plan: Plan) {
    let range = |length: usize| PayloadRef {
        segment: 0,
        generation: 0,
        offset: 0,
        length: length as u64,
    };
    let constants = plan.constants.iter().map(|constant| match constant.kind {
        Kind::List => {
            let lengths = constant.items.iter().map(|item| (0, item.len() as u64));
            Incoming::List {
                range: range(constant.items.iter().map(Vec::len).sum()),
                items: lengths.collect(),
                section: None,
            }
        }
        Kind::Bytes | Kind::Value => {
            Incoming::One(range(constant.items.first().map_or(0, Vec::len)))
        }
    });
    let constants = constants.collect();
    let mut core = Core::new(CoreConfig {
        worker_hash: 1,
        epoch: 0,
        lane: 0,
        in_flight_max: 10,
        grace_ns: 1_000_000,
        lease_ns_max: None,
        patience_ns: 1_000_000,
        keep_alive_ns: 1_000_000_000,
        clock: ClockId(1),
        store: engine::core::store::StoreRules::default(),
    });
    let deployment = plan.deployment;
    core.deploy(plan, constants);
    core.activate(0, deployment);
}

fn play_expression(input: &[u8]) -> Answer {
    let mut parts = input.split(|byte| *byte == 0);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let values: Vec<&[u8]> = parts.collect();
    let names = match Expression::names(&text, |name| seeds::SOURCES.contains(&name)) {
        Ok(names) => names,
        Err(error) => return refused_expression(&text, &error),
    };
    let paths: Vec<&str> = names.iter().map(|name| name.path.as_str()).collect();
    let expression = match Expression::compile(&text, &paths) {
        Ok(expression) => expression,
        Err(error) => return refused_expression(&text, &error),
    };
    let given = |at: usize| values.get(at).filter(|value| !value.is_empty()).copied();
    let values: Vec<Option<&[u8]>> = (0..paths.len()).map(given).collect();
    let result = expression.evaluate(&values);
    if let Ok(condition) = Expression::compile_condition(&text, &paths) {
        let holds = condition.holds(&values);
        assert_eq!(
            holds.is_ok(),
            matches!(result, Ok(serde_json::Value::Bool(_))),
            "{result:?}"
        );
    }
    Answer::accepted(match result {
        Ok(value) => format!("gives {}", kind(&value)),
        Err(error) => gist(&error.to_string()),
    })
}

fn kind(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(text) => format!("a string {}", bucket(text.len())),
        Value::Array(items) => format!("a list {}", bucket(items.len())),
        Value::Object(fields) => format!("an object {}", bucket(fields.len())),
    }
}

fn refused_expression(text: &str, error: &engine::expression::ExpressionError) -> Answer {
    // The place is shown in the text: it must be one.
    let marked = text.get(error.offset..error.offset + error.length);
    assert!(marked.is_some(), "{error:?} is no place in the text");
    Answer::refused(error)
}

fn play_frame(input: &[u8]) -> Answer {
    let Some((header, rest)) = input.split_first_chunk::<{ wire::HEADER_BYTES }>() else {
        return Answer::refused("shorter than a header");
    };
    let header = match wire::Header::parse(header, super::INPUT_BYTES_MAX) {
        Ok(header) => header,
        Err(error) => return Answer::refused(error),
    };
    let Some(body) = rest.get(..header.length) else {
        return Answer::refused("the body is cut off");
    };
    // Checksums are against faults of the network: whoever means harm computes them.
    match decode(header.kind, body) {
        Ok(gist) => Answer::accepted(gist),
        Err(error) => Answer::refused(format!("{:?} {error}", header.kind)),
    }
}

fn decode(kind: wire::FrameKind, body: &[u8]) -> Result<String, wire::WireError> {
    use wire::FrameKind as Kind;
    macro_rules! decoded {
        ($($kind:ident),*) => {
            match kind {
                Kind::Control => return control(body),
                Kind::ControlReply => return control_reply(body),
                $(Kind::$kind => { wire::decode::<wire::$kind>(body)?; })*
                Kind::Chunk | Kind::BareChunk => {}
            }
        };
    }
    decoded!(
        Challenge, Hello, Welcome, Refused, Invoke, Answer, Cancel, Begin, StateEvent, PartDone,
        PartFailed, Forget, Drained, Heartbeat, Grant, Probe, Echo
    );
    Ok(format!("{kind:?}"))
}

fn control(body: &[u8]) -> Result<String, wire::WireError> {
    Ok(match wire::decode::<wire::Control>(body)? {
        wire::Control::Prepare(plan) => match plan.check() {
            Ok(()) => {
                // A lane refuses what it cannot compile, and must take the rest.
                let compiled = compile(&plan).map_or_else(|error| gist(&error), |()| shape(&plan));
                deploy(plan);
                format!("Prepare {compiled}")
            }
            Err(error) => gist(&error.to_string()),
        },
        _ => "Control".to_owned(),
    })
}

fn control_reply(body: &[u8]) -> Result<String, wire::WireError> {
    let wire::ControlReply::Profile(page) = wire::decode::<wire::ControlReply>(body)? else {
        return Ok("ControlReply".to_owned());
    };
    let mut gists = Vec::new();
    for node in &page.nodes {
        let outputs = node.outputs.iter().map(|(_, bytes)| bytes);
        let all = [&node.run_ns, &node.queued_ns].into_iter().chain(outputs);
        for measured in all.chain(&node.items) {
            match Distribution::try_from(measured) {
                Ok(read) => assert_eq!(read.count(), measured.count),
                Err(error) => gists.push(gist(&error.to_string())),
            }
        }
    }
    Ok(format!("Profile {}", gists.join(", ")))
}

fn play_planted(input: &[u8]) -> Answer {
    let holds = |word: &[u8]| input.windows(word.len()).any(|part| part == word);
    assert!(!holds(b"panic"), "a fault that was planted");
    if holds(b"spin") {
        loop {
            std::hint::spin_loop();
        }
    }
    if holds(b"grow") {
        let mut all = Vec::new();
        loop {
            all.push(vec![1_u8; 1 << 20]);
        }
    }
    if holds(b"dive") {
        return Answer::accepted(dive(1).to_string());
    }
    Answer::accepted(String::new())
}

#[expect(unconditional_recursion, reason = "the fault that was planted")]
fn dive(depth: u64) -> u64 {
    std::hint::black_box(dive(std::hint::black_box(depth + 1)) + depth)
}

/// What is said, without what is quoted and without numbers: these differ from input to input and say nothing new.
fn gist(said: &str) -> String {
    const BYTES_MAX: usize = 120;
    let (mut gist, mut quote) = (String::new(), None);
    for character in said.chars() {
        match (quote, character) {
            (Some(end), _) => {
                if character == end {
                    quote = None;
                }
            }
            (None, '`' | '"') => quote = Some(character),
            (None, '0'..='9') if gist.ends_with('#') => {}
            (None, '0'..='9') => gist.push('#'),
            (None, _) => gist.push(character),
        }
        if gist.len() > BYTES_MAX {
            break;
        }
    }
    gist
}

/// A number, roughly.
const fn bucket(number: usize) -> u32 {
    usize::BITS - number.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_found_by_its_name_and_takes_its_own_seeds() {
        for target in Target::ALL {
            assert_eq!(Target::named(target.name()), Some(target));
            let answers: Vec<Answer> = target
                .seeds()
                .iter()
                .map(|seed| target.play(seed))
                .collect();
            let accepted = answers.iter().filter(|answer| answer.accepted).count();
            assert!(
                accepted >= answers.len().min(2),
                "{target:?} refuses its seeds: {answers:#?}"
            );
        }
        assert_eq!(Target::named("nothing"), None);
    }

    #[test]
    fn a_gist_leaves_out_what_differs() {
        let one = gist("line 12: no node `a`, did you mean `b`?");
        assert_eq!(one, gist("line 7: no node `else`, did you mean `what`?"));
        assert_ne!(one, gist("line 7: no input `else`, did you mean `what`?"));
    }
}
