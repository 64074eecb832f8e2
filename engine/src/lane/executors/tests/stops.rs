//! The word by which an executor is told to stop what it runs.

use super::*;
use faasstore::Cancelled;

impl Bench {
    /// What the executor sees of an activation.
    fn is_told(&self, activation: u32) -> Option<Cancelled> {
        self.theirs.told().look(activation)
    }
}

#[test]
fn the_word_stands_until_its_activation_has_ended_however_that_ends() {
    let mut bench = Bench::new(&[Kind::Bytes]);
    let activation = bench.activation;
    assert_ne!(activation, 0, "0 stands for none");
    let tell = |bench: &mut Bench, why| {
        assert_eq!(bench.is_told(activation), None);
        bench.executor.tell_to_stop(activation, why);
        assert_eq!(bench.is_told(activation), Some(why));
        assert_eq!(bench.is_told(activation + 1), None);
    };
    // As the lane reads a completion that it awaits.
    tell(&mut bench, Cancelled::ByClient);
    let (executor, segments) = (&mut bench.executor, &mut bench.segments);
    read_plain(executor, &[], segments, &mut bench.arena, &mut Vec::new());
    // Any other one, with outputs that are refused as well.
    tell(&mut bench, Cancelled::TimedOut);
    bench.done(&[own(0)]).unwrap();
    tell(&mut bench, Cancelled::FailedElsewhere);
    bench.done(&[beyond()]).unwrap_err();
    // A failure.
    tell(&mut bench, Cancelled::ByClient);
    let mut scratch = Scratch::default();
    let (code, text) = (descriptor::FailureCode::Error, OutputRef::Empty);
    descriptor::encode_failed(&mut scratch.message, activation, code, text);
    let read = read_event(
        &mut bench.executor,
        ID,
        &bench.core,
        &mut bench.segments,
        &mut bench.arena,
        &mut scratch,
        &mut Vec::new(),
    );
    assert!(matches!(read, Ok(Some(Event::Failed { .. }))), "{read:?}");
    assert_eq!(bench.is_told(activation), None);
}

#[test]
fn what_is_no_end_of_an_activation_leaves_the_word_as_it_is() {
    let mut bench = Bench::new(&[Kind::Bytes]);
    let activation = bench.activation;
    bench.executor.tell_to_stop(activation, Cancelled::ByClient);
    let mut scratch = Scratch::default();
    descriptor::encode_retire(&mut scratch.message, 0, 0);
    let read = read_event(
        &mut bench.executor,
        ID,
        &bench.core,
        &mut bench.segments,
        &mut bench.arena,
        &mut scratch,
        &mut Vec::new(),
    );
    assert!(matches!(read, Ok(None)), "{read:?}");
    assert_eq!(bench.is_told(activation), Some(Cancelled::ByClient));
}
