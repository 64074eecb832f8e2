//! `typed-functions`: what the end-to-end tests of payload types run. Started with `FAASFLOW_TEST_BUILD=other`, it is as if
//! it had been built from another source.
#![forbid(unsafe_code)]

use faasstore::schema::ARROW_IPC;
use faasstore::{Call, Context, Described, Error, Function, bytes, function, serve, typed};
use rkyv::{Archive, Deserialize, Serialize};
use std::process::ExitCode;

mod rows {
    #![allow(
        missing_docs,
        reason = "rkyv's derive makes items without documentation"
    )]

    use super::*;

    #[derive(Archive, Serialize, Deserialize, Described)]
    pub(crate) struct Row {
        pub(crate) word: String,
        pub(crate) count: u64,
    }

    /// The same, as the other build has it.
    #[derive(Archive, Serialize, Deserialize, Described)]
    pub(crate) struct OtherRow {
        pub(crate) word: String,
        pub(crate) count: u32,
    }

    #[derive(Archive, Serialize, Deserialize, Described)]
    pub(crate) struct Total {
        pub(crate) count: u64,
    }
}

use rows::{ArchivedTotal, OtherRow, Row, Total};

fn main() -> ExitCode {
    let other = std::env::var_os("FAASFLOW_TEST_BUILD").is_some_and(|build| build == "other");
    let (rows, sum): (Function, Function) = match other {
        false => (
            function("rows", rows).output::<Row>("rows"),
            function("sum", sum).input::<Row>("rows"),
        ),
        true => (
            function("rows", other_rows).output::<OtherRow>("rows"),
            function("sum", |_: &mut Call| {
                Err(Error::new("the other build only differs"))
            })
            .input::<OtherRow>("rows"),
        ),
    };
    serve([
        rows,
        sum.output::<Total>("total"),
        typed("double", |total: &ArchivedTotal, _: &Context| {
            Ok(Total {
                count: 2 * total.count.to_native(),
            })
        }),
        function("show", |call: &mut Call| {
            let total = call.typed::<Total>("total")?.count.to_native();
            call.write("text", total.to_string().as_bytes())
        })
        .input::<Total>("total"),
        bytes("length", |any: &[u8], _: &Context| {
            Ok(any.len().to_string())
        }),
        function("table", |call: &mut Call| call.write("table", TABLE))
            .tagged_output("table", ARROW_IPC),
        function("columns", columns).tagged_input("table", ARROW_IPC),
    ])
}

/// The words of a text, each as a row.
fn rows(call: &mut Call) -> Result<(), Error> {
    let text = std::str::from_utf8(call.bytes("text")?)?;
    let mut rows = call.list_output("rows")?;
    for word in text.split_whitespace() {
        rows.push_typed(&Row {
            word: word.to_owned(),
            count: 1,
        })?;
    }
    Ok(())
}

fn other_rows(call: &mut Call) -> Result<(), Error> {
    let text = std::str::from_utf8(call.bytes("text")?)?;
    let mut rows = call.list_output("rows")?;
    for word in text.split_whitespace() {
        rows.push_typed(&OtherRow {
            word: word.to_owned(),
            count: 1,
        })?;
    }
    Ok(())
}

fn sum(call: &mut Call) -> Result<(), Error> {
    let rows = call.list("rows")?;
    let mut count = 0;
    for index in 0..rows.len() {
        if let Some(row) = rows.typed::<Row>(index)? {
            count += row.count.to_native() * u64::from(!row.word.is_empty());
        }
    }
    call.write_typed("total", &Total { count })
}

/// A stream of Arrow's inter-process format, as the `arrow-ipc` crate writes it: columns `word` (to, be, or) and `count` (2,
/// 2, nothing).
const TABLE: &[u8] = include_bytes!("../../data/table.arrows");
/// Where the numbers of `count` begin in it.
const COUNTS: usize = 0x2c0;

/// Adds up the numbers of a table that has the form of [`TABLE`], where they lie.
fn columns(call: &mut Call) -> Result<(), Error> {
    let table = call.bytes("table")?;
    if !table.as_ptr().addr().is_multiple_of(64) {
        return Err(Error::new(
            "buffers of 64 bytes cannot be used where they lie",
        ));
    }
    let end = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    if !table.starts_with(&end[..4]) || !table.ends_with(&end) {
        return Err(Error::new("no stream with its end"));
    }
    let (numbers, _) = table[COUNTS..].as_chunks::<8>();
    let sum: i64 = numbers[..3]
        .iter()
        .map(|number| i64::from_le_bytes(*number))
        .sum();
    call.write("text", sum.to_string().as_bytes())
}
