//! `grid config`: the effective configuration, or the reference of all keys.

use clap::Args;

use super::Failure;
use super::args::StandaloneArgs;
use super::output::{Output, print, print_json};
use crate::config::whole::Reference;

const EXAMPLES: &str = "Takes the flags of `grid standalone`, and shows what it would use with them.

Examples:
  grid config --config grid.toml
  GRID__WORKER__SLOTS=8 grid config --output json
  grid config --reference > grid.toml";

/// `grid config`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ConfigureArgs {
    /// Print every key with its meaning and default, as a commented file
    #[arg(long)]
    reference: bool,
    #[command(flatten)]
    args: StandaloneArgs,
}

/// Prints it.
pub fn run(args: &ConfigureArgs, output: Output) -> anyhow::Result<()> {
    match (args.reference, output) {
        (true, Output::Human) => print(&Reference.to_string()),
        (true, Output::Json) => print_json(&Reference::to_json()),
        (false, output) => {
            let loaded = args.args.load().map_err(Failure::from)?;
            match output {
                Output::Human => print(&loaded.effective().to_string()),
                Output::Json => print_json(&loaded.effective().to_json()),
            }
        }
    }
}
