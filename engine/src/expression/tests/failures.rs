//! What is said of an evaluation that fails: where, what, and shortly.

use super::*;

#[test]
fn a_failure_tells_the_place_in_the_text_and_in_the_file() {
    let error = |text: &str| {
        let expression = Expression::compile(text, &names()).unwrap();
        expression.evaluate(&values()).unwrap_err()
    };
    let of_field = error("'ü' == width || check.info.txet == 1");
    assert_eq!(
        of_field.at("case 2 of `switch`"),
        "case 2 of `switch`, column 17: `check.info.txet`: there is no field `txet`; did you mean `text`?"
    );
    let of_line = error("true &&\n  item[7]");
    assert_eq!(
        of_line.to_string(),
        "line 2, column 3: `item[7]`: there is no element 7 in a list of 3"
    );
    assert_eq!(
        error("0.0 / 0.0").at("`delay_ms`"),
        "`delay_ms`: the result is no finite number, which JSON cannot hold"
    );
    assert_eq!(error("fail('Paid: twice')").at("`delay_ms`"), "Paid: twice");
}

#[test]
fn a_failure_is_short_whatever_failed() {
    let long = "x".repeat(3000);
    for text in [
        format!("check.info.{long}"),
        format!("'{long}' + 1 + width"),
    ] {
        let Ok(expression) = Expression::compile(&text, &names()) else {
            continue;
        };
        let error = expression.evaluate(&values()).unwrap_err().to_string();
        assert!(error.chars().count() < 500, "{error}");
    }
    let object = format!("{{\"{long}\": 1, \"{long}y\": 2}}");
    let expression = Expression::compile("a.b", &["a"]).unwrap();
    let error = expression.evaluate(&[Some(object.as_bytes())]).unwrap_err();
    assert!(error.to_string().chars().count() < 500, "{error}");
}

#[test]
fn a_field_that_is_not_there_is_looked_for_once() {
    let expression = "[1, 2].exists(x, item.exists(y, check.info.txet == 1)) || width.a == 1";
    let error = run(expression).unwrap_err();
    assert!(error.contains("did you mean `text`?"), "{error}");
    fails(
        "[1].exists(x, check.info.txet == 1) && false || check.info.zebra",
        "`check.info.zebra`: there is no field `zebra`",
    );
}
