//! The one binary: `grid`.

use grid::worker::executor::{GUARDIAN_ARGUMENT, guardian_main};

fn main() -> std::process::ExitCode {
    // Before the command line, which does not know it: the small process that a worker starts beside itself.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == GUARDIAN_ARGUMENT)
    {
        return guardian_main();
    }
    grid::cli::main()
}
