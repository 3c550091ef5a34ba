//! `grid completion`: what a shell needs to complete commands and flags.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::Cli;
use super::output::{Output, print, print_json};

const EXAMPLES: &str = "Examples:
  source <(grid completion bash)
  grid completion bash > /etc/bash_completion.d/grid
  grid completion zsh > \"${fpath[1]}/_grid\"
  grid completion fish > ~/.config/fish/completions/grid.fish
  grid completion powershell | Out-String | Invoke-Expression";

/// `grid completion`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CompletionArgs {
    /// For which shell
    shell: Shell,
}

pub fn run(args: &CompletionArgs, output: Output) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "grid", &mut script);
    let script = String::from_utf8(script)?;
    match output {
        Output::Human => print(&script),
        Output::Json => print_json(&json!({"shell": args.shell.to_string(), "script": script})),
    }
}
