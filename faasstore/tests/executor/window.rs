//! Lists of which items are asked for while a function runs.

use super::engine::{ARENA_BYTES_MAX, Engine};
use faasstore::binding::WaitStrategy::{self, Adaptive, Park, Spin};
use faasstore::descriptor::{
    Completion, FailureCode, ItemAnswer, ItemName, Message, OutputRef, PayloadRef, Want,
    encode_item, encode_release, encode_stop, encode_unmap,
};

/// Items of which two fit into a walk's window.
const ITEMS: [&[u8]; 5] = [b"zero ", b"one, ", b"two, ", b"3, ", b"four"];
const WINDOW_BYTES: u64 = 10;

/// An engine that has told of a list, and brings its items as they are asked for.
struct Bringer {
    engine: Engine,
    places: Vec<PayloadRef>,
    /// All wants so far.
    wants: Vec<Want>,
    outputs: Vec<OutputRef>,
}

fn item(item: u32) -> ItemName {
    ItemName { input: 0, item }
}

impl Bringer {
    fn new(wait: WaitStrategy) -> Self {
        let mut engine = Engine::start(wait);
        let places = ITEMS.iter().map(|item| engine.payload(item)).collect();
        Self {
            engine,
            places,
            wants: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Asks for a function of the list, of which all items but the fourth are away.
    fn activate(&mut self, function: &str) {
        let entries: Vec<PayloadRef> = (0..ITEMS.len())
            .map(|index| match index {
                3 => self.places[3],
                _ => PayloadRef::away(self.places[index].length, WINDOW_BYTES),
            })
            .collect();
        let table = self.engine.table(&entries);
        self.engine.activate(function, &[table]);
        self.wants.clear();
    }

    fn answer(&mut self, want: &Want, answer: ItemAnswer) {
        let (activation, name) = (want.activation, want.wanted.expect("it waits for an item"));
        let answer = Message::written(|message| encode_item(message, activation, name, answer));
        self.engine.push(&answer);
    }

    fn bring(&mut self, want: &Want) {
        let wanted = want.wanted.expect("it waits for an item");
        self.answer(want, ItemAnswer::Here(self.places[wanted.item as usize]));
    }

    /// The next item that it waits for; none once it has ended, well or by a failure with a code and a text.
    fn next(&mut self) -> Result<Option<Want>, (FailureCode, String)> {
        loop {
            let (completion, outputs) = self.engine.completion();
            match completion {
                Completion::Want(want) => {
                    assert_eq!(want.activation, self.engine.last());
                    self.wants.push(want);
                    if want.wanted.is_some() {
                        return Ok(Some(want));
                    }
                }
                Completion::Done { activation, .. } => {
                    assert_eq!(activation, self.engine.last());
                    self.outputs = outputs;
                    return Ok(None);
                }
                Completion::Failed { code, message, .. } => {
                    let text = String::from_utf8(self.engine.bytes(&message)).unwrap();
                    self.engine.release(&[message]);
                    return Err((code, text));
                }
                Completion::Retire { .. } => {}
                Completion::Full(full) => panic!("{full:?}"),
            }
        }
    }

    /// Brings whatever it asks for, until it ends well.
    fn bring_all(&mut self) {
        while let Some(want) = self.next().unwrap() {
            self.bring(&want);
        }
    }

    fn whole(&mut self) -> Vec<u8> {
        let output = self.outputs[0];
        let bytes = self.engine.bytes(&output);
        self.engine.release(&[output]);
        bytes
    }

    /// What was wanted, and what was done with, in order.
    fn said(&self) -> Vec<(Option<u32>, Vec<u32>)> {
        let said = |want: &Want| {
            let done = want.done().iter().map(|done| done.item).collect();
            (want.wanted.map(|wanted| wanted.item), done)
        };
        self.wants.iter().map(said).collect()
    }
}

#[test]
fn a_walk_asks_for_one_item_after_the_other_and_lets_go_of_the_one_before() {
    for wait in [Spin, Adaptive, Park] {
        let mut bringer = Bringer::new(wait);
        for _ in 0..20 {
            bringer.activate("walk");
            bringer.bring_all();
            assert_eq!(bringer.whole(), ITEMS.concat());
            let said = [
                (Some(0), vec![]),
                (Some(1), vec![0]),
                (Some(2), vec![1]),
                // The fourth is there without being asked for.
                (Some(4), vec![2]),
            ];
            assert_eq!(bringer.said(), said);
            assert!(bringer.wants.iter().all(|want| want.walks && !want.keep));
        }
    }
}

#[test]
fn any_item_can_be_read_and_is_let_go_of_when_nobody_here_reads_it_any_more() {
    let mut bringer = Bringer::new(Adaptive);
    bringer.activate("backwards");
    bringer.bring_all();
    let backwards: Vec<&[u8]> = ITEMS.into_iter().rev().chain([ITEMS[2]; 3]).collect();
    assert_eq!(bringer.whole(), backwards.concat());
    let said = [
        (Some(4), vec![]),
        (Some(2), vec![]),
        // Two of them fill its window.
        (Some(1), vec![4]),
        (Some(0), vec![2]),
        // Both walks read it, and it is asked for once; the one that is left has it still.
        (Some(2), vec![1]),
    ];
    assert_eq!(bringer.said(), said);
    assert!(bringer.wants.iter().all(|want| !want.walks && !want.keep));
}

#[test]
fn what_is_borrowed_until_the_end_or_passed_on_is_never_let_go_of() {
    let mut bringer = Bringer::new(Adaptive);
    bringer.activate("keep");
    bringer.bring_all();
    let output = bringer.outputs[0];
    let items = bringer.engine.items(&output);
    assert_eq!(bringer.engine.bytes(&items[0]), ITEMS[0]);
    let alias = OutputRef::Alias {
        input: 0,
        item: Some(1),
        offset: 1,
        length: 4,
    };
    assert_eq!(items[1], alias);
    let keeps: Vec<(u32, bool)> = bringer
        .wants
        .iter()
        .filter_map(|want| Some((want.wanted?.item, want.keep)))
        .collect();
    // The walk finds the first one there; the second one was passed, and is asked for to stay.
    assert_eq!(
        keeps,
        [(0, true), (1, false), (2, false), (4, false), (1, true)]
    );
    let done = bringer.wants.iter().flat_map(|want| want.done());
    assert!(
        done.copied().all(|done| done != item(0)),
        "{:?}",
        bringer.said()
    );
}

#[test]
fn an_item_for_which_there_is_no_room_fails_the_activation_by_name_whatever_it_returns() {
    for function in ["walk", "keep"] {
        let mut bringer = Bringer::new(Adaptive);
        bringer.activate(function);
        let want = bringer.next().unwrap().expect("it wants an item");
        bringer.answer(&want, ItemAnswer::NoRoom);
        let failure = loop {
            match bringer.next() {
                Ok(want) => bringer.bring(&want.expect("it cannot end well")),
                Err(failure) => break failure,
            }
        };
        assert_eq!(failure.0, FailureCode::Memory);
        for part in ["parts[0]", "5 bytes", "List::walk", "--memory"] {
            assert!(failure.1.contains(part), "{function}: {failure:?}");
        }
        // And nothing of that is left for the next.
        bringer.activate(function);
        bringer.bring_all();
    }
}

#[test]
fn whoever_is_to_stop_does_not_wait_on_for_an_item() {
    let mut bringer = Bringer::new(Park);
    bringer.activate("walk");
    let want = bringer.next().unwrap().expect("it wants an item");
    bringer.answer(&want, ItemAnswer::Stopped);
    let (code, text) = bringer.next().unwrap_err();
    assert_eq!(code, FailureCode::Error);
    assert!(text.contains("is to stop"), "{text}");
    bringer.activate("walk");
    let _ = bringer.next().unwrap().expect("it wants an item");
    bringer.engine.push(&Message::written(encode_stop));
    assert!(bringer.next().is_err());
    assert!(bringer.engine.child.wait().unwrap().success());
}

#[test]
fn what_comes_while_a_function_waits_is_seen_to_in_its_order() {
    let mut bringer = Bringer::new(Adaptive);
    // Half of the arena, which comes back while the next one waits.
    let half = vec![7; ARENA_BYTES_MAX as usize / 2];
    let large = bringer.engine.payload(&half);
    let held = bringer.engine.call("upper", &[large]).unwrap();
    bringer.activate("walk");
    let want = bringer.next().unwrap().expect("it wants an item");
    let [OutputRef::Own(range)] = held[..] else {
        panic!("{held:?}");
    };
    let release = Message::written(|message| encode_release(message, &[range]));
    bringer.engine.push(&release);
    let unmap = |of: PayloadRef| {
        Message::written(|message| encode_unmap(message, of.segment, of.generation))
    };
    // One that it has mapped since long, and one that it was never asked to.
    bringer.engine.push(&unmap(large));
    let unseen = bringer.engine.payload(&[1; 100_000]);
    bringer.engine.push(&unmap(unseen));
    bringer.bring(&want);
    bringer.bring_all();
    assert_eq!(bringer.whole(), ITEMS.concat());
    // There is room for it again, and what is announced anew in those places is found.
    for _ in 0..3 {
        let outputs = bringer.engine.call("upper", &[bringer.places[1]]).unwrap();
        assert_eq!(bringer.engine.bytes(&outputs[0]), b"ONE, ");
        bringer.engine.release(&outputs);
    }
    let again = bringer.engine.payload(&half);
    let outputs = bringer.engine.call("upper", &[again]).unwrap();
    bringer.engine.release(&outputs);
}

#[test]
fn an_executor_ends_when_it_is_given_what_it_has_not_asked_for() {
    let mut bringer = Bringer::new(Adaptive);
    bringer.activate("walk");
    let mut want = bringer.next().unwrap().expect("it wants an item");
    want.wanted = Some(item(2));
    bringer.bring(&want);
    let status = bringer.engine.child.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    let log = bringer.engine.log.take().unwrap().join().unwrap();
    assert!(log.contains("item 2 of input 0"), "{log}");
}
