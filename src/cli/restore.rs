//! `grid restore`: what remains to be done when a backup was loaded into a database.

use std::path::PathBuf;

use clap::Args;

use super::args::{ConfigArgs, Flags, StoreArgs};
use super::output::{print, print_json};
use super::{Failure, Output};
use crate::config::whole::Loaded;
use crate::log::Restored;
use crate::{node, telemetry};

const HELP: &str =
    "Load the backup first, with Postgres' own programs, and stop every process of grid. The new timeline tells
everybody that what came after the backup has not happened: readers of the events start over, positions of clients and
reports of attempts of the old one are refused, workers and jobmasters that still work on it end. See docs/backup.md.

Examples:
  grid restore --postgres postgres://owner@db/grid --kafka broker:9092
  mkdir restored; grid restore --data-dir restored --dump grid.dump";

/// `grid restore`
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = HELP)]
pub struct RestoreArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Kafka brokers: makes the topics that are missing, and refuses while jobmasters beat there
    #[arg(long, value_name = "HOST:PORT,…")]
    kafka: Option<String>,
    /// Load this dump of pg_dump first, into the empty data folder of a standalone
    #[arg(long, value_name = "FILE", conflicts_with = "postgres")]
    dump: Option<PathBuf>,
    /// Also when the log was restored before and has been used since
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub fn run(args: &RestoreArgs, output: Output) -> anyhow::Result<()> {
    let mut flags = Flags::default();
    args.store.add_owner(&mut flags);
    flags.text("--kafka", "kafka.brokers", args.kafka.as_deref());
    let Loaded { config, .. } = args.config.load(flags).map_err(Failure::from)?;
    telemetry::start(&config.log)?;
    let restored = node::run(node::restore(&config, args.dump.as_deref(), args.again))?;
    match output {
        Output::Json => print_json(&serde_json::to_value(restored)?),
        Output::Human => print(&told(&restored)),
    }
}

fn told(restored: &Restored) -> String {
    let Restored {
        timeline,
        previous,
        shards,
        epoch,
        already,
        tokens,
    } = restored;
    let what = if *already {
        format!("timeline {timeline} was begun before, and nothing has used it since: nothing was changed\n")
    } else {
        format!("timeline {timeline} begins, after {previous}: {shards} shards, epochs from {epoch}\n")
    };
    format!(
        "{what}{tokens} API tokens are good as of the backup; what was revoked, or purged, after it is back: see `grid token \
         list`, and revoke and purge it again\n\
         next: grid verify; then grid events republish (where there is Kafka); then start the processes\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_next_is_told() {
        let restored = Restored {
            timeline: uuid::Uuid::from_u128(2),
            previous: uuid::Uuid::from_u128(1),
            shards: 64,
            epoch: 1_000_007,
            already: false,
            tokens: 3,
        };
        let text = told(&restored);
        assert!(
            text.contains("begins, after 00000000-0000-0000-0000-000000000001: 64 shards, epochs from 1000007"),
            "{text}"
        );
        assert!(text.contains("3 API tokens"), "{text}");
        let again = told(&Restored {
            already: true,
            ..restored
        });
        assert!(again.contains("nothing was changed"), "{again}");
    }
}
