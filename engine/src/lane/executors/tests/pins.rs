//! What an executor may keep of segments that have gone, and how long it has to let go of them.

use super::{ARENA_BYTES_MAX, Executor, Told, executor, woken_by};

const PATIENCE_NS: u64 = 1000;

/// A segment goes that is larger than all that may be kept.
fn one_goes(executor: &mut Executor) {
    executor.unmap(0, 0, ARENA_BYTES_MAX + 1);
    executor.flush_unmaps().unwrap();
}

fn is_replaced(executor: &mut Executor, now_ns: u64) -> bool {
    executor.pins_too_much(now_ns, false, PATIENCE_NS).unwrap()
}

#[test]
fn who_reads_on_has_its_time_again_for_what_goes_later() {
    let (mut executor, mut theirs, _socket) = executor();
    one_goes(&mut executor);
    assert!(!is_replaced(&mut executor, 0));
    assert!(!is_replaced(&mut executor, PATIENCE_NS - 1));
    // Nobody has looked meanwhile.
    Told::default().read(&mut theirs);
    one_goes(&mut executor);
    assert!(!is_replaced(&mut executor, PATIENCE_NS));
    assert!(!is_replaced(&mut executor, 2 * PATIENCE_NS - 1));
    assert!(is_replaced(&mut executor, 2 * PATIENCE_NS));
    // It reads at last.
    Told::default().read(&mut theirs);
    assert!(!is_replaced(&mut executor, 2 * PATIENCE_NS));
    assert_eq!(executor.pinned_bytes(), 0);
    assert_eq!(executor.pinned_due_ns(PATIENCE_NS), None);
}

#[test]
fn who_answers_has_its_time_again_though_it_has_not_said_what_it_has_read() {
    let (mut executor, _theirs, _socket) = executor();
    one_goes(&mut executor);
    assert!(!is_replaced(&mut executor, 0));
    executor.pinned.answered();
    one_goes(&mut executor);
    assert!(!is_replaced(&mut executor, PATIENCE_NS));
    assert!(is_replaced(&mut executor, 2 * PATIENCE_NS));
}

#[test]
fn who_reads_nothing_is_woken_and_has_no_more_time_for_what_goes_later() {
    let (mut executor, _theirs, _socket) = executor();
    for tenth in 0..10 {
        one_goes(&mut executor);
        assert!(!is_replaced(&mut executor, tenth * PATIENCE_NS / 10));
    }
    one_goes(&mut executor);
    assert!(is_replaced(&mut executor, PATIENCE_NS));
    assert!(woken_by(|executor| {
        one_goes(executor);
        assert!(!is_replaced(executor, 0));
    }));
}
