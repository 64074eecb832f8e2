//! What people should know of an import: what was chosen, and what the file does not say.

use super::Builder;
use crate::definition::problem::quoted;

/// Names that one note lists.
const LISTED_MAX: usize = 6;

impl Builder<'_> {
    pub(super) fn notes(&self) -> Vec<String> {
        let function = |place: usize| self.flat.functions[place].name.value.as_str();
        let mut notes = vec![
            "imported from the published system's flat YAML; every function is a synthetic one with the recorded run time \
             and sizes"
                .to_owned(),
        ];
        let mut ambiguous: Vec<_> = self.sources.ambiguous.iter().collect();
        ambiguous.sort();
        for (name, writers) in ambiguous {
            let mut names: Vec<&str> = writers.iter().map(|&writer| function(writer)).collect();
            names.reverse();
            notes.push(format!(
                "`{}` is ambiguous: {} write it, and no order among them is given; that of {} is read, being the last in \
                 the file's order",
                quoted(name),
                listed(&names),
                names.last().copied().unwrap_or_default()
            ));
        }
        let mut differ: Vec<&str> = self.kinds_differ.iter().map(String::as_str).collect();
        differ.sort_unstable();
        if !differ.is_empty() {
            notes.push(format!(
                "{}: a list of one function and one payload of another; those of the kind of the last writer are read",
                listed(&differ)
            ));
        }
        let several: Vec<&str> = (0..self.steps.steps.len())
            .filter(|&step| self.steps.steps[step].gates.len() > 1)
            .map(|step| self.step_names[step].as_str())
            .collect();
        if !several.is_empty() {
            notes.push(format!(
                "behind several switches: {}; it runs once all are decided, if one of them chose it (the published engine \
                 waits for all of them to choose it)",
                listed(&several)
            ));
        }
        if !self.values.is_empty() {
            let mut steered: Vec<_> = self
                .values
                .iter()
                .map(|(&from, value)| (from, value))
                .collect();
            steered.sort_by_key(|(from, _)| *from);
            let steered: Vec<String> = steered
                .iter()
                .map(|(from, value)| format!("{} = {value}", self.source(*from)))
                .collect();
            let steered: Vec<&str> = steered.iter().map(String::as_str).collect();
            notes.push(format!(
                "what conditions read was not recorded; these values lead through most of the workflow: {}",
                listed(&steered)
            ));
        }
        if self.all_placeholders {
            notes.push("all run times are placeholders of 1 s: nobody measured them".to_owned());
        }
        if self.sizes_differ > 0 {
            notes.push(format!(
                "{} inputs have another size than what is written for them; what is written counts",
                self.sizes_differ
            ));
        }
        if self.flat.outputs.is_empty() {
            notes.push(
                "the file names no outputs: those of the last functions are the workflow's"
                    .to_owned(),
            );
        }
        if !self.flat.inputs.is_empty() {
            notes.push("inputs default to nothing, so that it runs as it is; give bytes of the recorded size with --input".to_owned());
        }
        notes
    }
}

fn listed(names: &[&str]) -> String {
    let mut text = names[..names.len().min(LISTED_MAX)].join(", ");
    if names.len() > LISTED_MAX {
        text.push_str(&format!(" and {} more", names.len() - LISTED_MAX));
    }
    text
}
