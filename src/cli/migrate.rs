//! `grid migrate`: prepares database and topics, and finishes an upgrade.

use serde_json::json;

use super::output::{print, print_json};
use super::{Failure, MigrateArgs, Output};
use crate::config::whole::Loaded;
use crate::node::{Formats, MigrateWishes};
use crate::{node, telemetry};

/// Prints what becomes of the log's format.
pub fn run(args: &MigrateArgs, output: Output) -> anyhow::Result<()> {
    let Loaded { config, .. } = args.load().map_err(Failure::from)?;
    telemetry::start(&config.log)?;
    let wishes = MigrateWishes {
        accept_lost_topic: args.accept_lost_topic,
        finish_upgrade: args.finish_upgrade,
    };
    let formats = node::run(node::migrate(&config, wishes))?;
    match output {
        Output::Json => print_json(&json!({
            "logFormat": formats.active.number(),
            "newestLogFormat": formats.known.number(),
        })),
        Output::Human => print(&told(formats, args.finish_upgrade)),
    }
}

fn told(Formats { before, active, known }: Formats, finish: bool) -> String {
    if before < active {
        return format!(
            "the upgrade is finished: format {active} of the log is written, and programs that do not know it are refused\n"
        );
    }
    if active < known {
        return format!(
            "an upgrade waits to be finished: format {active} of the log is written, and this program knows {known}. When no \
             older program runs any more: grid migrate --finish-upgrade\n"
        );
    }
    if finish {
        return format!("there is no upgrade to finish: format {active} of the log is written already\n");
    }
    String::new()
}
