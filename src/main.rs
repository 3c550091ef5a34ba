//! The one binary: `grid`.

fn main() -> std::process::ExitCode {
    grid::cli::main()
}
