//! Random workflows with regions, one of them within another.

use super::super::sketch::{Sketch, Sketched, Src};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Nodes before a region, in it, in one within it, in it again, in a second one, and behind all.
pub(super) fn sketch_of(numbers: &[[u8; 12]], shape: [u8; 8]) -> Sketch {
    let parts = [
        (1 + shape[0] % 2, None),
        (1 + shape[1] % 2, Some(0)),
        (shape[2] % 3, Some(1)),
        (shape[3] % 2, Some(0)),
        (shape[4] % 2, Some(2)),
        (1 + shape[5] % 2, None),
    ];
    let scopes: Vec<Option<usize>> = parts
        .iter()
        .flat_map(|(count, scope)| std::iter::repeat_n(*scope, usize::from(*count)))
        .collect();
    let parent = [None, Some(0), None];
    let around = |scope: Option<usize>| {
        std::iter::successors(scope, |region| parent[*region])
            .map(Some)
            .chain([None])
    };
    // Whether a node of one scope can read what one of another gives: it is around it, or just within what is.
    let sees = |reader: Option<usize>, of: Option<usize>| {
        around(reader).any(|scope| scope == of || of.is_some_and(|of| scope == parent[of]))
    };
    let choose = |byte: u8, fitting: Vec<usize>| {
        let count = fitting.len();
        (count > 0).then(|| fitting[usize::from(byte) % count])
    };
    let first = |region: usize| {
        scopes
            .iter()
            .position(|scope| around(*scope).any(|of| of == Some(region)))
    };
    let list = |region: usize| {
        let before = first(region).unwrap_or(0);
        let fitting = (0..before).filter(|node| scopes[*node] == parent[region]);
        match choose(shape[6].wrapping_add(31 * region as u8), fitting.collect()) {
            Some(node) if !shape[7].is_multiple_of(4) => Src::Of(node),
            _ => Src::Optional,
        }
    };
    let mut switches = BTreeMap::new();
    let mut nodes = Vec::new();
    for (index, (scope, random)) in scopes.iter().zip(numbers).enumerate() {
        let seen = || {
            (0..index)
                .filter(|other| sees(*scope, scopes[*other]))
                .collect::<Vec<usize>>()
        };
        let source = |byte: u8| match choose(byte, seen()) {
            Some(node) if byte > 30 => Src::Of(node),
            _ => Src::Optional,
        };
        let mut node = Sketched {
            region: *scope,
            at_least: u32::from(random[0] % 8).saturating_sub(5),
            ..Sketched::default()
        };
        for input in 0..usize::from(random[1] % 3) {
            let mut sources = vec![source(random[2 + 2 * input])];
            if random[3 + 2 * input] % 3 == 0 {
                sources.push(source(random[3 + 2 * input]));
            }
            node.inputs.push((sources, random[1] > 220));
        }
        if random[6] > 170 {
            node.after.extend(choose(random[6], seen()));
        }
        // A case leads into regions or out of them, but not from one into another.
        let targets = || {
            let fits = |other: &usize| {
                around(scopes[*other]).any(|of| of == *scope)
                    || around(*scope).any(|of| of == scopes[*other])
            };
            (index + 1..scopes.len())
                .filter(fits)
                .collect::<Vec<usize>>()
        };
        let most = if scope.is_none() {
            2
        } else {
            1 + usize::from(random[7] > 230)
        };
        let count = switches.entry(*scope).or_insert(0);
        if random[7] > 100 && *count < most {
            *count += 1;
            for bytes in [&random[8..10], &random[10..12]] {
                let to = bytes.iter().filter(|byte| **byte > 60);
                let mut to: Vec<usize> = to.filter_map(|byte| choose(*byte, targets())).collect();
                to.sort_unstable();
                to.dedup();
                node.cases.push(to);
            }
        }
        nodes.push(node);
    }
    let outside = |byte: u8| {
        let fitting = (0..nodes.len()).filter(|node| sees(None, scopes[*node]));
        Src::Of(choose(byte, fitting.collect()).unwrap_or(0))
    };
    let outputs = vec![
        vec![outside(shape[6])],
        vec![outside(shape[7]), outside(shape[0])],
    ];
    Sketch {
        regions: (0..parent.len())
            .map(|region| (parent[region], list(region)))
            .collect(),
        nodes,
        outputs,
    }
}

pub(super) fn random() -> impl Strategy<Value = Sketch> {
    let numbers = prop::collection::vec(any::<[u8; 12]>(), 12);
    (numbers, any::<[u8; 8]>()).prop_map(|(numbers, shape)| sketch_of(&numbers, shape))
}
