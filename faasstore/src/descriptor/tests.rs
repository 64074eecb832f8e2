//! Whatever is written is read; whatever is read is a value or an error.

use super::*;
use proptest::prelude::*;

fn payload() -> impl Strategy<Value = PayloadRef> {
    (0..100u32, any::<u32>(), any::<u64>(), 1..u64::MAX).prop_map(
        |(segment, generation, offset, length)| PayloadRef {
            segment,
            generation,
            offset,
            length,
        },
    )
}

fn output() -> impl Strategy<Value = OutputRef> {
    prop_oneof![
        Just(OutputRef::Empty),
        payload().prop_map(|p| OutputRef::Own(ArenaRange {
            segment: p.segment,
            generation: p.generation,
            offset: p.offset,
            length: p.length
        })),
        (
            any::<u16>(),
            proptest::option::of(0..u32::MAX),
            any::<u64>(),
            any::<u64>()
        )
            .prop_map(|(input, item, offset, length)| OutputRef::Alias {
                input,
                item,
                offset,
                length
            }),
    ]
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(
        inputs in proptest::collection::vec(payload(), 0..=INPUTS_IN_PLACE_MAX),
        node: u32, attempt: u32, invocation: u128, activation: u32, item: u32,
        deadline_ns: Option<u64>, measure: bool,
    ) {
        let activate = Activate { node, attempt, invocation: InvocationId(invocation), activation, item, deadline_ns, measure };
        let message = Message::written(|message| encode_activate(message, &activate, &inputs, false));
        prop_assert_eq!(message.slots().len(), 1 + further_slots(&message.slots()[0]));
        let mut read_inputs = vec![PayloadRef::EMPTY];
        let Request::Activate { activate: read, table } =
            decode_request(&assemble(message.slots()), &mut read_inputs).unwrap() else { panic!("another kind") };
        prop_assert_eq!(read, activate);
        prop_assert_eq!(read_inputs, inputs);
        prop_assert!(!table);
    }

    #[test]
    fn a_completion_is_read_as_it_was_written(
        activation: u32,
        outputs in proptest::collection::vec(output(), 0..=OUTPUTS_IN_PLACE_MAX),
        cpu: Option<(u64, u64)>, leftover: [[u64; 8]; 4],
    ) {
        let cpu = cpu.map(|(cpu_ns, alone_ns)| CpuUse { cpu_ns, alone_ns });
        // Messages are written over one another.
        let mut message = assemble(&leftover);
        let write = |message: &mut Message| {
            encode_done(message, activation, &outputs, false);
            if let Some(cpu) = cpu {
                add_cpu_use(message, cpu);
            }
        };
        write(&mut message);
        let anew = Message::written(write);
        prop_assert_eq!(message.slots(), anew.slots());
        prop_assert_eq!(is_plain_done(&message, activation, outputs.len()), cpu.is_none());
        prop_assert_eq!(message.slots().len(), 1 + further_slots(&message.slots()[0]));
        let mut read_outputs = vec![OutputRef::Empty];
        let Completion::Done { activation: read, table, cpu: read_cpu } =
            decode_completion(&assemble(message.slots()), &mut read_outputs).unwrap() else { panic!("another kind") };
        prop_assert_eq!((read, table, read_cpu), (activation, false, cpu));
        prop_assert_eq!(read_outputs, outputs);
    }

    #[test]
    fn a_want_is_read_as_it_was_written(
        activation: u32,
        wanted in proptest::option::of((any::<u16>(), 0..NO_ITEM)),
        done in proptest::collection::vec((any::<u16>(), any::<u32>()), 0..=DONE_ITEMS_MAX + 1),
        keep: bool, walks: bool,
    ) {
        let name = |(input, item)| ItemName { input, item };
        let mut want = Want::new(activation, wanted.map(name));
        (want.keep, want.walks) = (keep, walks);
        for (index, done) in done.iter().enumerate() {
            prop_assert_eq!(want.add_done(name(*done)), index < DONE_ITEMS_MAX);
        }
        let message = Message::written(|message| encode_want(message, &want));
        let read = decode_completion(&assemble(message.slots()), &mut Vec::new());
        prop_assert_eq!(read, Ok(Completion::Want(want)));
    }

    #[test]
    fn an_answer_to_a_want_is_read_as_it_was_written(
        activation: u32, input: u16, item: u32, place in payload(), which in 0..3,
    ) {
        let name = ItemName { input, item };
        let answer = match which {
            0 => ItemAnswer::Here(place),
            1 => ItemAnswer::NoRoom,
            _ => ItemAnswer::Stopped,
        };
        let message = Message::written(|message| encode_item(message, activation, name, answer));
        let read = decode_request(&assemble(message.slots()), &mut Vec::new());
        prop_assert_eq!(read, Ok(Request::Item { activation, name, answer }));
    }

    #[test]
    fn that_an_arena_is_full_and_the_answer_are_read_as_they_were_written(
        activation: u32, bytes: u64, again: bool, which in 0..4_usize,
    ) {
        let full = Full { activation, bytes, again };
        let message = Message::written(|message| encode_full(message, &full));
        let read = decode_completion(&assemble(message.slots()), &mut Vec::new());
        prop_assert_eq!(read, Ok(Completion::Full(full)));
        let answer = [RoomAnswer::Back, RoomAnswer::Never, RoomAnswer::Late, RoomAnswer::Stopped][which];
        let message = Message::written(|message| encode_room(message, activation, answer));
        let read = decode_request(&assemble(message.slots()), &mut Vec::new());
        prop_assert_eq!(read, Ok(Request::Room { activation, answer }));
    }

    #[test]
    fn an_item_that_is_away_is_no_range_and_no_output(length: u64, window_bytes: u64) {
        let away = PayloadRef::away(length, window_bytes);
        let read = PayloadRef::from_words(away.to_words());
        prop_assert_eq!((read, read.window_bytes()), (away, Some(window_bytes)));
        prop_assert!(!away.is_range() && !away.is_absent());
        prop_assert!(OutputRef::from_words(away.to_words()).is_err());
    }

    #[test]
    fn garbage_is_an_error_or_a_value_but_never_a_panic(words: [[u64; 8]; 4], used in 1..=4usize) {
        let message = assemble(&words[..used]);
        let _ = decode_request(&message, &mut Vec::new());
        let _ = decode_completion(&message, &mut Vec::new());
        prop_assert!(further_slots(&words[0]) < MESSAGE_SLOTS_MAX);
    }
}
