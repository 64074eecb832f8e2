//! What is made, where it lies, and how it shows.

use super::{ABSENT, AWAY, Arena, Rig, Seen, one};
use engine::core::{CompletionError, Incoming, Input, Outgoing};
use engine::wire::ITEM_ABSENT;
use faasstore::binding::Kind;
use faasstore::descriptor::{Full, PayloadRef};

impl Rig {
    pub(super) fn list_or_one(&mut self, items: &[Vec<u8>], kind: Kind) -> Incoming {
        let text = |item: &Vec<u8>| String::from_utf8(item.clone()).unwrap();
        if kind == Kind::List {
            self.list(&items.iter().map(text).collect::<Vec<_>>())
        } else {
            Incoming::One(self.fresh(&text(&items[0])))
        }
    }

    pub(super) fn list(&mut self, items: &[String]) -> Incoming {
        let there = items.iter().filter(|item| *item != ABSENT);
        let range = self.fresh(&there.cloned().collect::<String>());
        let mut offset = 0;
        let items = items.iter().map(|item| {
            if item == ABSENT {
                return (0, ITEM_ABSENT);
            }
            let place = (offset, item.len() as u64);
            offset += item.len() as u64;
            place
        });
        Incoming::List {
            range,
            items: items.collect(),
            section: None,
        }
    }

    pub(super) fn fresh(&mut self, text: &str) -> PayloadRef {
        if text.is_empty() {
            return PayloadRef::EMPTY;
        }
        let offset = self.next_offset;
        self.next_offset += 1 << 16;
        self.texts.insert(offset, text.to_owned());
        self.held.insert(offset);
        PayloadRef {
            segment: 0,
            generation: 1,
            offset,
            length: text.len() as u64,
        }
    }

    /// As [`Rig::fresh`], by an executor of the first worker.
    pub(super) fn made(&mut self, text: &str) -> PayloadRef {
        let range = self.fresh(text);
        let Some(arena) = self.arena.as_mut().filter(|_| range.is_range()) else {
            return range;
        };
        let (segment, ranges) = arena.last;
        if segment == 0 || ranges == arena.ranges {
            arena.last = (segment + 1, 0);
            let owner = Some(arena.owner);
            self.cores[0].segment_known(segment + 1, arena.segment_bytes, owner);
        }
        arena.last.1 += 1;
        PayloadRef {
            segment: arena.last.0,
            ..range
        }
    }

    /// What is made from now on lies in the arena of the executor that runs a node: in segments of so many bytes, and so many
    /// in each.
    pub(crate) fn fill_arena_of(&mut self, node: &str, segment_bytes: u64, ranges: u32) {
        let owner = self.start_of(node).executor;
        self.arena = Some(Arena {
            owner,
            segment_bytes,
            ranges,
            last: (0, 0),
        });
    }

    /// What runs of a node finds its arena full, for so many bytes, `again` if what came back was not enough.
    pub(crate) fn full(
        &mut self,
        node: &str,
        bytes: u64,
        again: bool,
    ) -> Result<(), CompletionError> {
        let start = self.start_of(node);
        let full = Full {
            activation: start.activation,
            bytes,
            again,
        };
        let told = self.cores[0].arena_full(self.now_ns, start.executor, &full);
        if told.is_ok() {
            self.waiting_for_room.insert(start.executor);
        }
        self.settle();
        told
    }

    pub(super) fn text(&self, range: PayloadRef) -> Seen {
        if range == PayloadRef::ABSENT {
            return Seen::Absent;
        }
        if range.length == 0 {
            return one("");
        }
        let whole = (range.offset - 64) / (1 << 16) * (1 << 16) + 64;
        assert!(self.held.contains(&whole), "it was given back already");
        let first = (range.offset - whole) as usize;
        one(&self.texts[&whole][first..][..range.length as usize])
    }

    pub(super) fn seen(&self, worker: usize, input: Input<'_>) -> Seen {
        match input {
            Input::One(range) => self.text(range),
            Input::Windowed(items, account) => {
                let core = &self.cores[worker];
                let places = items.iter();
                let places = places.map(|item| core.locate_or_away(*item, account));
                let texts = places.map(|place| match place.is_away() {
                    true => AWAY.to_owned(),
                    false => match self.text(place) {
                        Seen::One(text) => text,
                        _ => ABSENT.to_owned(),
                    },
                });
                Seen::List(texts.collect())
            }
            Input::List(items) => Seen::List(
                items
                    .iter()
                    .map(|item| match self.text(self.cores[worker].locate(*item)) {
                        Seen::One(text) => text,
                        Seen::Absent => ABSENT.to_owned(),
                        Seen::List(_) => panic!("an item that is a list"),
                    })
                    .collect(),
            ),
        }
    }

    pub(super) fn outgoing(&self, worker: usize, outgoing: &Outgoing) -> Seen {
        match outgoing {
            Outgoing::One(payload) => self.text(self.cores[worker].locate(*payload)),
            Outgoing::List(items) | Outgoing::Section(items, _) => {
                self.seen(worker, Input::List(items))
            }
        }
    }
}
