//! Divided nodes: what stands for them as a whole, and what of their parts it reads.

use super::super::program::{
    Details, InputFrom, InputRead, LocalNode, NO_SCOPE, Node, Program, RemoteProducer, Runner,
    SlotIndex, WholeOutput,
};
use super::Compiler;
use crate::plan::{EdgeStore, NodeId, NodePlan, Plan, Source, WholePlan};
use rustc_hash::FxHashMap;

impl Compiler {
    /// What is read of each divided node, once all else is known that is.
    pub(super) fn whole_outputs(&mut self, plan: &Plan) -> Vec<Vec<WholeOutput>> {
        let Some(first) = plan.wholes.first() else {
            return Vec::new();
        };
        let made = self.made.iter().filter(|((id, _), _)| *id >= first.id);
        let mut read: Vec<(NodeId, u16, SlotIndex)> = made
            .map(|((id, output), slot)| (*id, *output, *slot))
            .collect();
        read.sort_unstable();
        let outputs = plan.wholes.iter().map(|whole| {
            let from = read.partition_point(|(id, ..)| *id < whole.id);
            let of_it = read[from..].iter().take_while(|(id, ..)| *id == whole.id);
            let output = of_it.map(|(_, output, slot)| self.whole_output(whole, *output, *slot));
            output.collect()
        });
        outputs.collect()
    }

    fn whole_output(&mut self, whole: &WholePlan, output: u16, slot: SlotIndex) -> WholeOutput {
        let mut sections = whole.sections.iter();
        WholeOutput {
            parts: self.part_slots(whole, output),
            slot,
            error: self.errors.get(&whole.id) == Some(&output),
            section: sections.find(|one| one.list == output).copied(),
        }
    }

    fn part_slots(&mut self, whole: &WholePlan, output: u16) -> Vec<SlotIndex> {
        let parts = whole.parts.iter();
        let slot = |part: &NodeId| {
            let source = Source::Output {
                node: *part,
                output,
            };
            match self.read(source, 0) {
                InputFrom::Slot(slot) => Some(slot),
                _ => None,
            }
        };
        parts.filter_map(slot).collect()
    }

    /// Each part of each divided node tells what stands for it.
    pub(super) fn tell_wholes(
        &self,
        plan: &Plan,
        remote: &mut [RemoteProducer],
        into: &mut [(u32, u16)],
    ) -> Vec<(LocalNode, LocalNode)> {
        let mut local_parts = Vec::new();
        for whole in &plan.wholes {
            let stands = self.local_of[&whole.id];
            into[stands as usize].0 = whole.parts.len() as u32;
            for part in &whole.parts {
                match self.local_of.get(part) {
                    Some(local) => local_parts.push((*local, stands)),
                    None => {
                        let place = self.remote_by_id[part];
                        remote[place as usize].part_of = Some(stands);
                    }
                }
            }
        }
        local_parts
    }

    /// What stands for a divided node: it reads what its parts have gathered.
    pub(super) fn whole_node(
        &self,
        plan: &Plan,
        planned: &FxHashMap<LocalNode, &NodePlan>,
        local: LocalNode,
        program: &Program,
    ) -> (Node, Details, Vec<InputRead>) {
        let whole = &plan.wholes[(local - program.first_whole) as usize];
        let node = self.stand_in(Runner::Whole, NO_SCOPE, whole.parts.len() as u32);
        let part = whole.parts[0];
        let name = match self.local_of.get(&part) {
            Some(local) => &planned[local].name,
            None => &plan.remote_nodes[self.remote_by_id[&part] as usize].name,
        };
        let details = Details {
            name: name.clone(),
            ..Details::default()
        };
        let slots = program.whole_outputs(local).iter();
        let slots = slots.flat_map(|output| &output.parts);
        let read = slots.map(|slot| InputRead {
            from: InputFrom::Slot(*slot),
            optional: true,
            store: EdgeStore::Workflow,
        });
        (node, details, read.collect())
    }
}
