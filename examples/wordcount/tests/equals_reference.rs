//! The workflow's functions give what the reference gives, whatever the text.

use proptest::prelude::*;
use wordcount::{ArchivedCounts, count, merge, reference, split};

fn totals(text: &[u8]) -> Vec<u8> {
    let archives: Vec<_> = split(text)
        .into_iter()
        .map(|range| {
            rkyv::to_bytes::<rkyv::rancor::Error>(&count(&text[range])).expect("counts archive")
        })
        .collect();
    let counts = archives.iter().map(|bytes| {
        rkyv::access::<ArchivedCounts, rkyv::rancor::Error>(bytes).expect("an archive validates")
    });
    let totals = merge(counts).expect("counts fit together");
    let mut out = Vec::new();
    totals.write_to(&mut out).expect("a Vec takes everything");
    assert_eq!(out.len(), totals.text_bytes());
    out
}

fn assert_equal(text: &[u8]) {
    assert_eq!(reference::first_difference(&totals(text), text), None);
}

#[test]
fn texts_at_the_edges_are_counted_as_the_reference_counts() {
    let cases: [&[u8]; 8] = [
        b"",
        b"one",
        b"one two\n",
        b"no final newline",
        b"\n\n \t",
        b"It's IT'S",
        b"\xff\xfe caf\xc3\xa9 Caf\xc3\xa9",
        b"\0",
    ];
    for text in cases {
        assert_equal(text);
    }
    assert_eq!(totals(b"b a b"), b"b\t2\na\t1\n");
}

#[test]
fn words_at_the_seams_of_chunks_are_counted_once() {
    let text: Vec<u8> = (0..400_000_u32)
        .flat_map(|number| format!("w{} ", number % 1013).into_bytes())
        .collect();
    assert!(split(&text).len() > 8);
    assert_equal(&text);
}

#[test]
fn a_difference_is_named_by_its_line() {
    let difference = reference::first_difference(b"b\t2\nc\t1\n", b"b a b").unwrap();
    assert_eq!(
        (difference.line, difference.expected.as_deref()),
        (2, Some(&b"a\t1\n"[..]))
    );
    let missing = reference::first_difference(b"b\t2\n", b"b a b").unwrap();
    assert_eq!((missing.line, missing.found), (2, None));
    let surplus = reference::first_difference(b"b\t2\na\t1\nz\t1\n", b"b a b").unwrap();
    assert_eq!((surplus.line, surplus.expected), (3, None));
}

proptest! {
    #[test]
    fn random_bytes_are_counted_as_the_reference_counts(text in prop::collection::vec(any::<u8>(), 0..4096)) {
        assert_equal(&text);
    }

    #[test]
    fn repeated_prose_is_counted_as_the_reference_counts(prose in "[a-cA-C' .\n]{1,200}", times in 1usize..2000) {
        assert_equal(prose.repeat(times).as_bytes());
    }
}
