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
    fn garbage_is_an_error_or_a_value_but_never_a_panic(words: [[u64; 8]; 4], used in 1..=4usize) {
        let message = assemble(&words[..used]);
        let _ = decode_request(&message, &mut Vec::new());
        let _ = decode_completion(&message, &mut Vec::new());
        prop_assert!(further_slots(&words[0]) < MESSAGE_SLOTS_MAX);
    }
}
