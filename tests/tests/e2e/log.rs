//! What programs write to standard error suits whoever reads it: plain text where that is no terminal.

use faasflow_tests::cluster::Setup;

#[test]
fn a_log_that_goes_to_a_file_has_no_colours() {
    let cluster = Setup::workers(&["a"]).start();
    let log = cluster.log("a");
    assert!(
        log.contains("INFO"),
        "the worker says that it is ready: {log:?}"
    );
    assert!(!log.contains('\u{1b}'), "{log:?}");
}
