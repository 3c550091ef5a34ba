//! The configuration of a process: one section for each component.

#[cfg(test)]
mod page;
mod show;
#[cfg(test)]
mod tests;

pub use show::{Effective, Reference};

use std::collections::BTreeMap;

use crate::api::graphql::GraphqlOptions;
use crate::api::{ApiOptions, AuthOptions};
use crate::bus::{BusOptions, KafkaOptions};
use crate::config::{
    Error, Key, LogOptions, Options, Origin, PostgresOptions, Problem, Reader, Schema, ServerOptions, ShardsOptions,
    Sources, StandaloneOptions, TracingOptions,
};
use crate::logs::{LogsOptions, VictoriaOptions};
use crate::metrics::{InfluxOptions, MetricsOptions};
use crate::projection::ProjectionOptions;
use crate::publish::Options as PublishOptions;
use crate::shard::JobmasterOptions;
use crate::worker::WorkerOptions;

macro_rules! config {
    ($($(#[doc = $doc:literal])+ $section:ident: $options:ty,)+) => {
        /// The whole configuration: one field a section.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $section: $options,)+
        }

        impl Config {
            /// Every key of every section, in the order of the reference.
            pub fn keys() -> Vec<(&'static str, &'static Key)> {
                let mut keys = Vec::new();
                $(keys.extend(<$options as Options>::KEYS.iter().map(|key| (stringify!($section), key)));)+
                keys
            }

            /// What each section is for.
            pub const SECTIONS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($section), concat!($($doc),+))),+];

            fn schema() -> Schema {
                Schema { sections: Self::SECTIONS, keys: Self::keys() }
            }

            fn read(&mut self, reader: &mut Reader<'_>) {
                $(self.$section.read(stringify!($section), reader);)+
            }

            /// Values as shown to people, secrets hidden: (section, key, value).
            fn show(&self) -> Vec<(&'static str, &'static str, serde_json::Value)> {
                let mut shown = Vec::new();
                $(shown.extend(self.$section.show().into_iter().map(|(key, value)| (stringify!($section), key, value)));)+
                shown
            }
        }
    };
}

config! {
    /// The HTTP side: API, page, health and metrics.
    server: ServerOptions,
    /// One process that is everything: `grid standalone`.
    standalone: StandaloneOptions,
    /// The log and the read models.
    postgres: PostgresOptions,
    /// Limits of the bus, over Kafka and inside the process.
    bus: BusOptions,
    /// The bus between processes; without brokers the bus is inside the process.
    kafka: KafkaOptions,
    /// How the jobs are divided; fixed at the first `grid migrate`.
    shards: ShardsOptions,
    /// The read models.
    projection: ProjectionOptions,
    /// REST: how long it waits, for how much, and whom it answers.
    api: ApiOptions,
    /// Who may do what.
    auth: AuthOptions,
    /// GraphQL: how much a request, a connection or a subscription may take.
    graphql: GraphqlOptions,
    /// The publication of events to Kafka.
    publish: PublishOptions,
    /// What decides jobs: in a jobmaster process, or inside standalone.
    jobmaster: JobmasterOptions,
    /// A worker, in a process of its own or inside standalone.
    worker: WorkerOptions,
    /// What is measured of tasks, workers, jobs and processes, and how long that is kept.
    metrics: MetricsOptions,
    /// An InfluxDB v2 that keeps what is measured; workers of their own write to it themselves.
    influxdb: InfluxOptions,
    /// The lines of tasks.
    logs: LogsOptions,
    /// A VictoriaLogs that keeps the lines of tasks; Vectors bring them there.
    victorialogs: VictoriaOptions,
    /// What this process tells on stderr.
    log: LogOptions,
    /// What this process tells of the way of a call, as spans.
    tracing: TracingOptions,
}

/// A configuration and where each of its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Where the value of `section.key` came from.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// The effective configuration, for people and as JSON.
    pub fn effective(&self) -> Effective<'_> {
        Effective(self)
    }
}

impl Config {
    /// Reads all layers and checks them.
    ///
    /// # Errors
    /// A file that cannot be read or is not TOML; or every unknown key and bad value of all layers together.
    pub fn load(sources: &Sources) -> Result<Loaded, Error> {
        let (figment, mut problems) = sources.merge(&Self::schema())?;
        let mut config = Self::default();
        let mut reader = Reader::new(&figment);
        config.read(&mut reader);
        let (origins, bad) = reader.finish();
        problems.extend(bad);
        if problems.is_empty() {
            config.check(&origins, &mut problems);
        }
        if problems.is_empty() {
            Ok(Loaded { config, origins })
        } else {
            Err(Error::Problems(problems))
        }
    }

    /// What no single key can tell.
    fn check(&self, origins: &BTreeMap<String, Origin>, problems: &mut Vec<Problem>) {
        let mut must = |key: &str, holds: bool, what: String| {
            if !holds {
                let origin = origins.get(key).cloned().unwrap_or(Origin::Default);
                problems.push(Problem {
                    key: key.to_owned(),
                    origin,
                    what,
                });
            }
        };
        must(
            "shards.count",
            (1..=1024).contains(&self.shards.count),
            "expected 1 to 1024".to_owned(),
        );
        must(
            "influxdb.token",
            self.influxdb.url.is_none() || self.influxdb.token.is_some(),
            "expected a token that may read and write influxdb.bucket, as influxdb.url is set".to_owned(),
        );
        must(
            "metrics.sample_interval",
            self.metrics.sample_interval >= std::time::Duration::from_millis(100),
            "expected at least 100ms".to_owned(),
        );
        must(
            "metrics.idle_interval",
            self.metrics.idle_interval >= self.metrics.sample_interval,
            "expected at least metrics.sample_interval".to_owned(),
        );
        must(
            "metrics.raw_days",
            (1..=90).contains(&self.metrics.raw_days),
            "expected 1 to 90".to_owned(),
        );
        must(
            "metrics.rollup_days",
            (self.metrics.raw_days..=3_650).contains(&self.metrics.rollup_days),
            "expected metrics.raw_days to 3650".to_owned(),
        );
        must(
            "postgres.max_connections",
            self.postgres.max_connections >= 3,
            "expected at least 3".to_owned(),
        );
        must(
            "server.tls_key",
            self.server.tls_cert.is_some() == self.server.tls_key.is_some(),
            "server.tls_cert and server.tls_key go together".to_owned(),
        );
        // The attempts of a worker that is cut off must be dead before anybody places them again.
        must(
            "jobmaster.worker_lost_after",
            self.worker.dead_after < self.jobmaster.worker_lost_after,
            format!(
                "expected more than worker.dead_after ({})",
                humantime::format_duration(self.worker.dead_after)
            ),
        );
        for problem in self.worker.problems() {
            must(
                &format!("worker.{}", problem.key),
                false,
                format!("expected {}", problem.expected),
            );
        }
    }
}
