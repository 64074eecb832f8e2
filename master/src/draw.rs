//! Pictures of a workflow: as SVG, for Graphviz, for Mermaid, and as text; and of when its activations ran.
//!
//! All four show one [`scene`](self): the nodes with what they do, the workflow's inputs and outputs, and an edge for each
//! reason why one waits for another; where workers are given, who runs what, and which edges cross between workers.
//! Nothing here decides anything: what is drawn is what [`crate::definition`] and [`crate::place`] say.

mod alike;
mod colour;
mod dot;
mod expected;
mod layout;
mod legend;
mod lettering;
mod mermaid;
mod order;
mod place;
mod position;
mod rank;
mod scene;
mod svg;
#[cfg(test)]
mod tests;
mod text;
mod timeline;
mod words;

use crate::definition::Definition;
use crate::graph::Graph;
use crate::place::{Estimate, Placement};
use crate::trace::Trace;
use scene::Scene;

/// What a picture is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A drawing, laid out from left to right.
    Svg,
    /// Graphviz.
    Dot,
    /// Mermaid, as many documents embed it.
    Mermaid,
    /// A listing, rank by rank.
    Text,
}

/// How much of a large workflow a picture shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Of a workflow that is too large for a page, nodes that are alike as one box. A listing has every node all the same.
    Alike,
    /// Every node.
    All,
}

/// More boxes than this are too many for a page.
const PAGE_MAX: usize = 40;

/// Who runs what.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// The definition's.
    pub graph: &'a Graph,
    /// The graph's.
    pub placement: &'a Placement,
    /// Names of workers, in the order that the placement's numbers mean.
    pub workers: &'a [String],
    /// What the placement is expected to come to, if that is to be shown.
    pub estimate: Option<&'a Estimate>,
}

/// A picture of a workflow.
///
/// # Panics
/// If `placed` is not the definition's.
///
/// ```
/// use master::draw::{Detail, Format, draw};
/// let text = "{ workflow: w, nodes: { a: { function: e:f }, b: { function: e:f, after: a } } }";
/// let definition = master::definition::parse("w.yaml", text.as_bytes()).unwrap();
/// let svg = draw(&definition, None, Format::Svg, Detail::Alike);
/// assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
/// ```
#[must_use]
pub fn draw(
    definition: &Definition,
    placed: Option<Placed<'_>>,
    format: Format,
    detail: Detail,
) -> String {
    let mut scene = Scene::of(definition, placed);
    if detail == Detail::Alike && format != Format::Text && scene.boxes.len() > PAGE_MAX {
        scene = alike::grouped(scene, PAGE_MAX);
    }
    match format {
        Format::Svg => svg::write(&scene),
        Format::Dot => dot::write(&scene),
        Format::Mermaid => mermaid::write(&scene),
        Format::Text => text::write(&scene),
    }
}

/// A picture of when each activation ran, as SVG.
///
/// ```
/// # let trace = master::trace::Trace {
/// #     workflow: "w".into(),
/// #     invocation: faasstore::descriptor::InvocationId(1),
/// #     latency_ns: 5,
/// #     workers: Vec::new(),
/// #     nodes: Vec::new(),
/// #     attempts: Vec::new(),
/// #     edges: Vec::new(),
/// #     skipped: Vec::new(),
/// #     dropped: 0,
/// # };
/// let svg = master::draw::timeline(&trace);
/// assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
/// ```
#[must_use]
pub fn timeline(trace: &Trace) -> String {
    timeline::write(trace)
}
