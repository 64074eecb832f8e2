//! `faasflow validate`: whether a file is a workflow, and which of its nodes run.

use crate::arguments::Validate;
use crate::exit::Exit;
use crate::print::{self, Page, counted};
use master::certificate::{self, Bounds, Certificate, Certificates, Choice, Verdict, Witness};
use master::definition::{self, Definition, Problem, Work, nearest};
use master::diagnostics::to_stderr;
use miette::{Diagnostic, Report};
use serde_json::{Map, Value, json};
use std::str::FromStr;
use thiserror::Error;

/// What certificates say, and what they do not; for whoever reads them without the documents.
const READING: &str = "Conditions are not solved: the case of each switch counts as a free choice, and so does each \
optional input that has no default; nothing fails. So `always` and `never` are proofs, and `may` may be cautious.";

/// Choices of a witness that are said in words.
const SAID_MAX: usize = 12;
/// Choices of a witness in a JSON object; how many there are stands beside them.
const LISTED_MAX: usize = 1000;

/// `NODE=always`, as given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Expectation {
    /// A node, or `output.NAME`.
    what: String,
    verdict: Verdict,
}

impl Expectation {
    /// What was not decided is no answer: within larger bounds it might be another one.
    fn is_met(&self, found: &Certificate) -> bool {
        found.decided && self.verdict == found.verdict
    }
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "write NODE=always, NODE=may or NODE=never".to_owned();
        let (what, verdict) = text.split_once('=').ok_or_else(form)?;
        let all = [Verdict::Always, Verdict::May, Verdict::Never];
        let verdict = all
            .into_iter()
            .find(|one| one.name() == verdict)
            .ok_or_else(form)?;
        if what.is_empty() {
            return Err(form());
        }
        Ok(Self {
            what: what.to_owned(),
            verdict,
        })
    }
}

#[derive(Debug, Error, Diagnostic)]
enum ExpectError {
    #[error("--expect {what}: the workflow has no such node or output")]
    #[diagnostic(help("{help}"))]
    Unknown { what: String, help: String },
    #[error("{}", unmet.join("\n"))]
    #[diagnostic(help(
        "see `--certificates` for what each node depends on; conditions are not solved"
    ))]
    Unmet { unmet: Vec<String> },
}

/// What is suspicious is not wanted.
#[derive(Debug, Error, Diagnostic)]
#[error("{} in a definition that is otherwise valid", counted(.0.len(), "warning"))]
#[diagnostic(help("--deny-warnings makes this an error"))]
pub(crate) struct Denied(pub(crate) Vec<Problem>);

/// `faasflow validate`
pub(crate) fn validate(arguments: &Validate) -> Result<(), Exit> {
    let definition = definition::load(&arguments.file)?;
    for warning in &definition.warnings {
        to_stderr(&format!("{:?}\n", Report::new(warning.clone())));
    }
    if arguments.deny_warnings && !definition.warnings.is_empty() {
        return Err(Exit::input(Denied(definition.warnings)));
    }
    let certificates = certificate::check(&definition, Bounds::default())
        .map_err(|error| Exit::from(definition::LoadError::from(error)))?;
    let report = Certified {
        definition: &definition,
        certificates: &certificates,
    };
    let mut expectations = Vec::new();
    for expectation in &arguments.expectations {
        expectations.push((expectation, report.find(&expectation.what)?));
    }
    if arguments.json {
        print::json(&report.to_json(&expectations))?;
    } else {
        let mut page = Page::default();
        report.show(&mut page, arguments.certificates);
        page.print()?;
    }
    let unmet = expectations
        .iter()
        .filter(|(expected, found)| !expected.is_met(found));
    let unmet: Vec<String> = unmet
        .map(|(expected, found)| report.unmet(expected, found))
        .collect();
    if unmet.is_empty() {
        Ok(())
    } else {
        Err(Exit::work(ExpectError::Unmet { unmet }))
    }
}

struct Certified<'a> {
    definition: &'a Definition,
    certificates: &'a Certificates,
}

impl<'a> Certified<'a> {
    /// Every node, then every output, under the names by which `--expect` knows them.
    fn all(&self) -> impl Iterator<Item = (String, &'a Certificate)> {
        let nodes = self
            .definition
            .nodes
            .iter()
            .map(|node| node.name.value.clone());
        let outputs = self.definition.outputs.iter();
        let outputs = outputs.map(|output| format!("output.{}", output.name.value));
        let certificates = self
            .certificates
            .nodes
            .iter()
            .chain(&self.certificates.outputs);
        nodes.chain(outputs).zip(certificates)
    }

    fn find(&self, what: &str) -> Result<&'a Certificate, Exit> {
        if let Some((_, found)) = self.all().find(|(name, _)| name == what) {
            return Ok(found);
        }
        let names: Vec<String> = self.all().map(|(name, _)| name).collect();
        let help = match nearest(what, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name a node, or an output as output.NAME".to_owned(),
        };
        Err(Exit::input(ExpectError::Unknown {
            what: what.to_owned(),
            help,
        }))
    }

    fn unmet(&self, expected: &Expectation, found: &Certificate) -> String {
        let Expectation { what, verdict } = expected;
        let is = match found.verdict {
            Verdict::Always => "it always runs".to_owned(),
            Verdict::Never if !found.decided => {
                "whether it runs after a failure was not decided".to_owned()
            }
            Verdict::Never => "it never runs unless something fails".to_owned(),
            Verdict::May if !found.decided => "that was not decided".to_owned(),
            Verdict::May if *verdict == Verdict::Never => {
                format!("it runs if {}", self.words(found.runs.as_ref()))
            }
            Verdict::May => format!("it is skipped if {}", self.words(found.skipped.as_ref())),
        };
        format!("expected {what}={}, but {is}", verdict.name())
    }

    fn words(&self, witness: Option<&Witness>) -> String {
        let Some(witness) = witness else {
            return String::new();
        };
        let words = witness.choices.iter().take(SAID_MAX);
        let words = words.map(|choice| choice.describe(self.definition));
        let mut words = words.collect::<Vec<_>>().join(" and ");
        if witness.choices.len() > SAID_MAX {
            words.push_str(&format!(" and {} more", witness.choices.len() - SAID_MAX));
        }
        if witness.shortest {
            words
        } else {
            format!("{words} (fewer may do)")
        }
    }

    fn show(&self, page: &mut Page, certificates: bool) {
        page.line(&format!(
            "{} is valid: {}, {}, {}",
            self.definition.workflow.value,
            counted(self.definition.nodes.len(), "node"),
            counted(self.definition.inputs.len(), "input"),
            counted(self.definition.outputs.len(), "output"),
        ));
        if !certificates {
            return;
        }
        let row = |(name, one): (String, &Certificate)| {
            let mut verdict = one.verdict.name().to_owned();
            if !one.decided {
                verdict.push_str(" (not decided)");
            }
            let runs = match &one.after_failure {
                Some(failure) => format!("only after: {}", self.words(Some(failure))),
                None => self.words(one.runs.as_ref()),
            };
            vec![name, verdict, runs, self.words(one.skipped.as_ref())]
        };
        let rows: Vec<Vec<String>> = self.all().map(row).collect();
        page.line("");
        page.table(
            &["node", "runs", "for example if", "is skipped if"],
            &[],
            &rows,
        );
        page.line("");
        page.line(READING);
    }

    fn to_json(&self, expectations: &[(&Expectation, &Certificate)]) -> Value {
        let (nodes, outputs) = (self.definition.nodes.len(), self.definition.outputs.len());
        let mut all = self
            .all()
            .map(|(name, one)| self.certificate(name.trim_start_matches("output."), one));
        let nodes: Vec<Value> = all.by_ref().take(nodes).collect();
        let outputs: Vec<Value> = all.take(outputs).collect();
        let expectation = |(expected, found): &(&Expectation, &Certificate)| {
            json!({
                "node": expected.what,
                "expected": expected.verdict.name(),
                "found": found.verdict.name(),
                "met": expected.is_met(found),
            })
        };
        json!({
            "workflow": self.definition.workflow.value,
            "valid": true,
            "reading": READING,
            "warnings": self.definition.warnings.iter().map(Problem::to_json).collect::<Vec<_>>(),
            "nodes": nodes,
            "outputs": outputs,
            "expectations": expectations.iter().map(expectation).collect::<Vec<_>>(),
        })
    }

    fn certificate(&self, name: &str, one: &Certificate) -> Value {
        let mut object = Map::new();
        object.insert("name".to_owned(), json!(name));
        object.insert("runs".to_owned(), json!(one.verdict.name()));
        object.insert("decided".to_owned(), json!(one.decided));
        let witnesses = [
            ("runs_if", &one.runs),
            ("skipped_if", &one.skipped),
            ("runs_after", &one.after_failure),
        ];
        for (key, witness) in witnesses {
            if let Some(witness) = witness {
                let choices = witness.choices.iter().take(LISTED_MAX);
                let choices: Vec<Value> = choices.map(|choice| self.choice(*choice)).collect();
                let count = witness.choices.len();
                object.insert(
                    key.to_owned(),
                    json!({ "choices": choices, "count": count, "shortest": witness.shortest }),
                );
            }
        }
        Value::Object(object)
    }

    fn choice(&self, choice: Choice) -> Value {
        let name = |node: usize| self.definition.nodes[node].name.value.as_str();
        let taken = |switch: usize, case: u16| {
            let Work::Switch(cases) = &self.definition.nodes[switch].work else {
                return json!({ "switch": name(switch), "case": case });
            };
            let taken = &cases[usize::from(case)];
            let to: Vec<&str> = taken.to.iter().map(|to| name(to.value)).collect();
            let when = taken.condition.as_ref().map(|condition| &condition.value);
            json!({ "switch": name(switch), "case": case, "when": when, "to": to })
        };
        match choice {
            Choice::Case { switch, case } => taken(switch, case),
            Choice::SomeItem { switch, case, some } => {
                let mut taken = taken(switch, case);
                taken["some_item"] = json!(some);
                taken
            }
            Choice::SomeItemFails { node, catch, some } => {
                json!({ "node": name(node), "some_item_fails": some, "catch": catch })
            }
            Choice::Input { input, given } => {
                let input = &self.definition.inputs[usize::from(input)].name.value;
                json!({ "input": input, "given": given })
            }
            Choice::EndsWell { node } => json!({ "node": name(node), "fails": false }),
            Choice::Fails { node, catch } => {
                json!({ "node": name(node), "fails": true, "catch": catch })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_decided_meets_no_expectation() {
        let text = "{ workflow: w, nodes: { s: { switch: [{ when: '1 < 2', then: a }], default: [] }, \
                    a: { delay_ms: 1 } } }";
        let definition = definition::parse("w.yaml", text.as_bytes()).unwrap();
        let expected: Expectation = "a=may".parse().unwrap();
        let mut certificates = certificate::certify(&definition, Bounds::default());
        assert!(expected.is_met(&certificates.nodes[1]));
        certificates.nodes[1].decided = false;
        let found = &certificates.nodes[1];
        assert!(!expected.is_met(found));
        let report = Certified {
            definition: &definition,
            certificates: &certificates,
        };
        assert_eq!(
            report.unmet(&expected, found),
            "expected a=may, but that was not decided"
        );
        let json = report.to_json(&[(&expected, found)]);
        assert_eq!(json["expectations"][0]["met"], json!(false));
    }
}
