//! What imports of state machines promise.
