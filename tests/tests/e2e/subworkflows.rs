//! Workflows within workflows whose failures are caught around them, and expressions over batches, by real lanes.

use engine::plan::Limits;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use master::client::{Answered, Payload};
use master::definition::{self, Definition};
use serde_json::{Value, json};
use std::path::Path;

/// Fails in several ways, as an order says; `own` catches what it has failed with itself.
const SHOP: &str = r#"
workflow: shop
input: { order: value }
nodes:
  price: { compute: { v: 'input.order.price > 100 ? fail("too dear") : input.order.price' } }
  stock: { compute: { v: 'input.order.stock > 0 ? input.order.stock : fail("none left")' } }
  own:
    compute: { v: 'input.order.own ? fail("its own") : 1' }
    catch: { on: expression, to: mine }
  mine: { compute: { v: own.error.cause } }
  total: { compute: { v: price.v * stock.v } }
  parts: { compute: { l: { list: input.order.parts } } }
  each: { foreach: parts.l, compute: { v: 10 / item } }
output: { total: total.v, mine: mine.v }
"#;

const MAIN: &str = r#"
workflow: main
input: { orders: value }
nodes:
  all: { compute: { l: { list: input.orders }, first: 'input.orders[0]' } }
  one: { workflow: shop.yaml, input: { order: all.first }, catch: told }
  told: { compute: { node: one.error.node, cause: one.error.cause } }
  many:
    workflow: shop.yaml
    foreach: all.l
    input: { order: item }
    catch: [ { on: expression, to: [sorry, alarm] } ]
  sorry: { foreach: all.l, compute: { v: 'many.error.node + " of " + string(item.price)' } }
  alarm: { compute: { n: 'size(many.error.filter(e, e != null))' } }
  totals: { compute: { v: many.total } }
  pairs: { foreach: { list: all.l, batch: 2 }, compute: { v: 'item.map(o, o.price)', n: size(item) } }
  again: { foreach: { list: all.l, batch: 2 }, input: { these: item }, switch: [ { when: 'these[0].price > 100', then: dear } ], default: [] }
  dear: { compute: { v: 1 } }
output:
  total: { from: one.total, optional: true }
  mine: { from: one.mine, optional: true }
  node: { from: told.node, optional: true }
  cause: { from: told.cause, optional: true }
  totals: totals.v
  sorry: sorry.v
  alarm: { from: alarm.n, optional: true }
  pairs: pairs.v
  dear: { from: dear.v, optional: true }
"#;

fn read() -> Definition {
    let mut others = |path: &Path| {
        assert_eq!(path, Path::new("shop.yaml"));
        Ok(SHOP.as_bytes().to_vec())
    };
    definition::parse_with("main.yaml", MAIN.as_bytes(), &mut others)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Where nodes run so that what fails is heard of by the other worker.
const PINS: [(&str, &str); 6] = [
    ("one/price", "a"),
    ("one/each", "b"),
    ("one.error", "a"),
    ("told", "b"),
    ("many/price", "b"),
    ("alarm", "a"),
];

fn cluster() -> Cluster {
    let cluster = Setup::workers(&["a", "b"]).start();
    let deployed = cluster.deploy_definition(&["a", "b"], &read(), &PINS, Limits::default());
    deployed.unwrap_or_else(|error| panic!("{error}"));
    cluster
}

fn order(price: i64, stock: i64) -> Value {
    json!({ "price": price, "stock": stock, "own": false, "parts": [1, 2] })
}

fn invoke(cluster: &Cluster, entry: &str, orders: &[Value]) -> Answered {
    let inputs = [("orders", bytes(json!(orders).to_string()))];
    cluster.invoke(entry, "main", &inputs).unwrap()
}

/// An output, if it is there.
fn given(answered: &Answered, name: &str) -> Option<Value> {
    let outputs = answered.result.as_ref().unwrap_or_else(|e| panic!("{e}"));
    let found = outputs.iter().find(|(known, _)| known == name)?;
    Some(match &found.1 {
        Payload::List(items) => items
            .iter()
            .map(|item| {
                item.as_ref()
                    .map_or(Value::Null, |item| serde_json::from_slice(item).unwrap())
            })
            .collect(),
        Payload::Bytes(_) => serde_json::from_slice(output(answered, name)).unwrap(),
    })
}

#[test]
fn what_nothing_caught_within_is_caught_around_it_and_the_first_of_it_told() {
    let cluster = cluster();
    let with = |changes: &[(&str, Value)]| {
        let mut order = order(7, 2);
        for (key, value) in changes {
            order[*key] = value.clone();
        }
        order
    };
    let cases = [
        (with(&[]), Some(14), None, None),
        (
            with(&[("price", json!(200))]),
            None,
            Some(("one/price", "too dear")),
            None,
        ),
        // Of several the first in the other file's order, whichever failed first.
        (
            with(&[
                ("price", json!(200)),
                ("stock", json!(0)),
                ("parts", json!([0])),
            ]),
            None,
            Some(("one/price", "too dear")),
            None,
        ),
        (
            with(&[("stock", json!(0))]),
            None,
            Some(("one/stock", "none left")),
            None,
        ),
        // What it catches itself is none of it, and stands before no other.
        (
            with(&[("own", json!(true))]),
            Some(14),
            None,
            Some("its own"),
        ),
        (
            with(&[("own", json!(true)), ("parts", json!([5, 0, "x"]))]),
            Some(14),
            Some(("one/each", "by zero")),
            Some("its own"),
        ),
    ];
    for (order, total, told, mine) in cases {
        for entry in ["a", "b"] {
            let answered = invoke(&cluster, entry, std::slice::from_ref(&order));
            assert_eq!(
                given(&answered, "total"),
                total.map(|n| json!(n)),
                "{order}"
            );
            let node = given(&answered, "node");
            assert_eq!(node, told.map(|(node, _)| json!(node)), "{order}");
            let cause = given(&answered, "cause").unwrap_or_default();
            let cause = cause.as_str().unwrap_or_default();
            assert!(
                cause.contains(told.map_or("", |(_, cause)| cause)),
                "{cause}"
            );
            let own = given(&answered, "mine").unwrap_or_default();
            let own = own.as_str().unwrap_or_default();
            assert!(own.contains(mine.unwrap_or("")), "{order}: {own:?}");
            assert_eq!(mine.is_some(), !own.is_empty(), "{order}");
        }
    }
}

#[test]
fn with_a_foreach_each_item_is_caught_by_itself_and_leads_out_once() {
    let cluster = cluster();
    for entry in ["a", "b"] {
        let orders = [order(7, 2), order(200, 1), order(8, 0), order(9, 1)];
        let answered = invoke(&cluster, entry, &orders);
        assert_eq!(given(&answered, "totals"), Some(json!([14, null, null, 9])));
        assert_eq!(
            given(&answered, "sorry"),
            Some(json!([null, "many/price of 200", "many/stock of 8", null]))
        );
        assert_eq!(given(&answered, "alarm"), Some(json!(2)));
        let answered = invoke(&cluster, entry, &[order(7, 2)]);
        assert_eq!(given(&answered, "alarm"), None);
    }
}

#[test]
fn expressions_read_the_items_of_a_batch() {
    let cluster = cluster();
    for entry in ["a", "b"] {
        let answered = invoke(&cluster, entry, &[order(7, 2), order(8, 1), order(9, 1)]);
        assert_eq!(given(&answered, "pairs"), Some(json!([[7, 8], [9]])));
        assert_eq!(given(&answered, "dear"), None);
        let answered = invoke(&cluster, entry, &[order(1, 2), order(8, 1), order(101, 1)]);
        assert_eq!(given(&answered, "dear"), Some(json!(1)));
    }
}

#[test]
fn a_batch_that_is_too_long_for_an_expression_fails_by_name() {
    let cluster = Setup::workers(&["a"]).start();
    let workflow = "
workflow: long
input: { n: value, pad: value }
nodes:
  make: { foreach: { from: 0, to: input.n }, compute: { v: input.pad } }
  read: { foreach: { list: make.v, batch: 100 }, compute: { n: size(item) } }
output: { n: read.n }
";
    cluster.deploy(workflow, &[]);
    let pad = "x".repeat(1000);
    for (items, fits) in [(60, true), (70, false)] {
        let inputs = [
            ("n", bytes(items.to_string())),
            ("pad", bytes(json!(pad).to_string())),
        ];
        let answered = cluster.invoke("a", "long", &inputs).unwrap();
        match (&answered.result, fits) {
            (Ok(_), true) => assert_eq!(given(&answered, "n"), Some(json!([items]))),
            (Err(failure), false) => {
                let told = failure.to_string();
                assert!(
                    told.contains("read") && told.contains("more than 65536 bytes"),
                    "{told}"
                );
            }
            (result, _) => panic!("{items}: {result:?}"),
        }
    }
}
