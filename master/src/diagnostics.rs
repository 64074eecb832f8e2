//! How the programs say what is wrong: framed and wrapped for a terminal, for anyone else with every sentence and path on a
//! line of its own, whole, so that it can be searched for and copied.

use miette::MietteHandlerOpts;
use std::io::IsTerminal;

/// Makes this process write its diagnostics so. Later calls change nothing.
///
/// Colours are left to where they are written: none where standard error is no terminal, or `NO_COLOR` is set.
pub fn install() {
    // Refused where one was installed before: then that is it.
    let _ = miette::set_hook(Box::new(|_| {
        let options = if std::io::stderr().is_terminal() {
            MietteHandlerOpts::new()
        } else {
            MietteHandlerOpts::new().wrap_lines(false).color(false)
        };
        Box::new(options.build())
    }));
}
