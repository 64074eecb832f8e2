//! What a lane evaluates fails with the place of the expression in its node, and the place in the expression.

use super::*;
use crate::plan::DelayExpression;

fn compiled(text: &str) -> Expression {
    Expression::compile(text, &["a.out"]).unwrap()
}

const VALUE: [Option<&[u8]>; 1] = [Some(b"{\"size\": 3, \"text\": \"x\"}")];

fn cause(evaluated: &Evaluated) -> &str {
    match evaluated {
        Evaluated::Failed(cause) => cause,
        _ => panic!("it is evaluated"),
    }
}

#[test]
fn a_condition_that_fails_names_its_case() {
    let conditions = [
        compiled("a.out.size > 3"),
        compiled("'x' in [] || a.out.sise > 1"),
    ];
    let chosen = choose(&conditions, true, &VALUE);
    assert_eq!(
        cause(&chosen),
        "case 2 of `switch`, column 14: `a.out.sise`: there is no field `sise`; did you mean `size`?"
    );
    let chosen = choose(&[compiled("a.out.size")], false, &VALUE);
    let told = "case 1 of `switch`: the condition gives a number, and must give true or false";
    assert_eq!(cause(&chosen), told);
    // By what it says itself it is known to `catch` and `retry`.
    let chosen = choose(&[compiled("fail('Busy: later')")], false, &VALUE);
    assert_eq!(cause(&chosen), "Busy: later");
}

#[test]
fn a_formula_that_fails_names_its_output() {
    let fails = |formula: CompiledFormula, cause: &str| {
        let computed = formula.compute("sum", &VALUE, 10);
        assert_eq!(computed.err().as_deref(), Some(cause));
    };
    let (value, list) = (CompiledFormula::Value, CompiledFormula::List);
    fails(
        value(compiled("1 + a.out.text")),
        "output `sum` of `compute`, column 1: `1 + a.out.text`: `+` does not go with a number and a text",
    );
    fails(
        list(compiled("a.out.size")),
        "output `sum` of `compute`: it is to give a list, and gives 3",
    );
    fails(
        list(compiled("range(11)")),
        "output `sum` of `compute`: it gives a list of 11 items, above the limit of 10",
    );
    let range = |from: &str, to: &str| CompiledFormula::Range {
        from: compiled(from),
        to: compiled(to),
    };
    fails(
        range("0", "a.out.text"),
        "`to` of output `sum`: a range is of whole numbers, and this is \"x\"",
    );
    fails(
        range("a.out.nothing", "1"),
        "`from` of output `sum`, column 1: `a.out.nothing`: there is no field `nothing`; there are `size`, `text`",
    );
    fails(value(compiled("fail('Busy: later')")), "Busy: later");
}

#[test]
fn a_delay_that_fails_names_its_key() {
    let fails = |delay: fn(DelayExpression) -> Delay, text: &str, told: &str| {
        let expression = DelayExpression {
            text: text.to_owned(),
            inputs: Vec::new(),
        };
        let delays = Delays {
            delays: vec![delay(expression)],
            expressions: vec![Expression::compile(text, &[]).unwrap()],
        };
        let evaluated = delays.evaluate(&[]);
        assert!(cause(&evaluated).starts_with(told), "{}", cause(&evaluated));
    };
    fails(
        Delay::Computed,
        "10 / 0",
        "`delay_ms`, column 1: `10 / 0`: divides by zero",
    );
    fails(Delay::Computed, "-1", "`delay_ms`: it is to give a number");
    fails(
        Delay::Until,
        "[1][2]",
        "`delay_until`, column 1: `[1][2]`: there is no element 2",
    );
    fails(Delay::Computed, "fail('Busy: later')", "Busy: later");
}

#[test]
fn what_is_computed_has_its_maximum() {
    let most = |bytes: u64, items: u64| Maximum {
        bytes,
        items,
        ..Maximum::NONE
    };
    let numbers = || CompiledFormula::Range {
        from: compiled("0"),
        to: compiled("12"),
    };
    let computed = || numbers().compute("sum", &VALUE, 100).unwrap();
    assert!(computed().within("sum", most(2, 12)).is_ok());
    let told = computed().within("sum", most(1, 12)).err();
    assert_eq!(
        told.as_deref(),
        Some(
            "output `sum` of `compute` has 2 bytes in item 10, above its max_bytes of 1; declare more, or compute less"
        )
    );
    // Numbers are counted before any is made.
    let told = numbers().compute("sum", &VALUE, 11).err();
    assert!(
        told.unwrap()
            .contains("a list of 12 items, above the limit of 11")
    );
}
