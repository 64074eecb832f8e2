//! Whether the conditions, formulas and delays of a node can be evaluated over its inputs.

use super::error::PlanError;
use super::rules::Check;
use crate::expression::{Expression, ExpressionError};
use crate::plan::{DelayExpression, Formula, InputPlan, NodePlan, Work};
use faasstore::binding::Kind;

/// Longest part of an expression's text that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// Compiles every expression of a node.
pub(super) fn check_expressions(node: &NodePlan) -> Check {
    for (number, delay) in (1..).zip(&node.delays) {
        let place = || format!("node {:?}, delay {number}", node.name);
        if let Some(DelayExpression { text, inputs }) = delay.expression() {
            names(place, inputs)?;
            if let Some(compiled) = delay.compile() {
                refuse(place, text, compiled)?;
            }
        }
    }
    let conditions: &[String] = match &node.work {
        Work::Switch { conditions, .. } => conditions,
        Work::Compute(_) => &[],
        Work::Function { .. } | Work::Nothing => return Ok(()),
    };
    let names = names(|| format!("node {:?}", node.name), &node.inputs)?;
    for (number, condition) in conditions.iter().enumerate() {
        let place = || format!("node {:?}, condition {number}", node.name);
        refuse(
            place,
            condition,
            Expression::compile_condition(condition, &names),
        )?;
    }
    let Work::Compute(formulas) = &node.work else {
        return Ok(());
    };
    for (formula, output) in formulas.iter().zip(&node.outputs) {
        let place = || format!("node {:?}, output {:?}", node.name, output.name);
        let texts = match formula {
            Formula::Value(text) => vec![text],
            Formula::Range { from, to } => vec![from, to],
        };
        for text in texts {
            refuse(place, text, Expression::compile(text, &names))?;
        }
    }
    Ok(())
}

/// What expressions over these inputs may name. Whether a list's items are values shows when they are read.
fn names(place: impl Fn() -> String, inputs: &[InputPlan]) -> Result<Vec<&str>, PlanError> {
    if let Some(input) = inputs.iter().find(|input| input.kind == Kind::Bytes) {
        return Err(PlanError::Rule {
            place: format!("{}, input {:?}", place(), input.name),
            reason: "an expression reads values, and lists of them",
        });
    }
    Ok(inputs.iter().map(|input| input.name.as_str()).collect())
}

fn refuse(
    place: impl Fn() -> String,
    text: &str,
    compiled: Result<Expression, ExpressionError>,
) -> Check {
    let Err(error) = compiled else {
        return Ok(());
    };
    let before = text.get(..error.offset).unwrap_or(text);
    Err(PlanError::Expression {
        place: place(),
        text: text.chars().take(SHOWN_CHARS_MAX).collect(),
        column: before.chars().count() + 1,
        error,
    })
}
