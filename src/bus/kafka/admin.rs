//! Making the topics, and checking at start that they are as they should be.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::asking::{Asking, asking, cluster_id};
use super::settings::{Quiet, Settings};
use crate::bus::{BusError, BusOptions, KafkaOptions, Topic};

const LIMIT: &str = "max.message.bytes";

/// What [`migrate`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Created { topic: String, partitions: u16 },
    Grown { topic: String, from: u16, to: u16 },
    LimitRaised { topic: String, to_bytes: u64 },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { topic, partitions } => write!(f, "created topic {topic} with {partitions} partitions"),
            Self::Grown { topic, from, to } => write!(f, "topic {topic}: from {from} to {to} partitions"),
            Self::LimitRaised { topic, to_bytes } => write!(f, "topic {topic}: {LIMIT} raised to {to_bytes}"),
        }
    }
}

/// Makes the topics that are missing and mends what can be mended. Can be done again at any time. Retention is set at
/// creation alone: afterwards it is the operator's.
///
/// # Errors
/// When the brokers cannot be reached; when a topic exists with another number of partitions that cannot be changed.
pub async fn migrate(bus: &BusOptions, kafka: &KafkaOptions, shards: u16) -> Result<Vec<Change>, BusError> {
    let settings = Arc::new(Settings::new(bus, kafka, shards)?);
    let admin = Admin::new(&settings)?;
    admin.reach().await?;
    let mut changes = Vec::new();
    let mut problems = Vec::new();
    for topic in Topic::ALL {
        match admin.partitions(topic).await? {
            None => changes.push(admin.create(topic).await?),
            Some(have) => match (have, settings.partitions.of(topic)) {
                (have, want) if have == want => changes.extend(admin.raise_limit(topic).await?),
                (have, want) if have < want && can_grow(topic) => {
                    changes.push(admin.grow(topic, have, want).await?);
                    changes.extend(admin.raise_limit(topic).await?);
                }
                (have, want) => problems.push(wrong_count(&settings, topic, have, want)),
            },
        }
    }
    if !problems.is_empty() {
        return Err(BusError::Topics(problems.join("\n")));
    }
    admin.settle().await?;
    Ok(changes)
}

/// A name moves to another partition when the number changes. Shards must not; who listens at the moment only
/// registers again.
fn can_grow(topic: Topic) -> bool {
    match topic {
        Topic::Commands | Topic::Reports | Topic::Events | Topic::Heartbeats => false,
        Topic::Assignments | Topic::Replies => true,
    }
}

fn wrong_count(settings: &Settings, topic: Topic, have: u16, want: u16) -> String {
    let name = settings.name(topic);
    let advice = match topic {
        Topic::Commands | Topic::Reports | Topic::Events => {
            return format!(
                "{name} has {have} partitions instead of {want}; {}",
                shards_advice(name, have, want)
            );
        }
        Topic::Assignments => "set bus.assignment_partitions to it, or run `grid migrate` to have more",
        Topic::Replies => "set bus.reply_partitions to it, or run `grid migrate` to have more",
        Topic::Heartbeats => "delete the topic and run `grid migrate`: it holds nothing of worth",
    };
    format!("{name} has {have} partitions instead of {want}; {advice}")
}

/// A shard is a partition, and the number of shards is fixed: only what is missing can be added, and not by Grid, which
/// cannot know whether the topic is its own.
fn shards_advice(name: &str, have: u16, want: u16) -> String {
    if have < want {
        format!(
            "each shard needs one, and their number is fixed: add the missing ones (kafka-topics.sh --alter --topic {name} \
             --partitions {want}), or set shards.count to {have} for a log that is not begun yet"
        )
    } else {
        format!(
            "each shard has one, and their number is fixed: is it the topic of another Grid (kafka.topic_prefix)? Delete \
             it if nobody needs it and run `grid migrate`, or set shards.count to {have} for a log that is not begun yet"
        )
    }
}

/// Asks the brokers, and tells them what to make.
pub(super) struct Admin {
    settings: Arc<Settings>,
    client: AdminClient<Quiet>,
    /// The admin client's own questions about the cluster are asked through this one, off the runtime's threads.
    asking: Arc<Asking>,
}

impl Admin {
    pub(super) fn new(settings: &Arc<Settings>) -> Result<Self, BusError> {
        let wrong = |error: KafkaError| BusError::Properties(error.to_string());
        let client = settings.asking().create_with_context(Quiet).map_err(wrong)?;
        Ok(Self {
            settings: Arc::clone(settings),
            client,
            asking: Arc::new(asking(settings)?),
        })
    }

    fn options(&self) -> AdminOptions {
        let timeout = Some(self.settings.kafka.request_timeout);
        AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)
    }

    fn unavailable(&self, what: &str, why: impl fmt::Display) -> BusError {
        let waited = self.settings.kafka.request_timeout;
        BusError::Unavailable {
            what: what.to_owned(),
            waited,
            why: why.to_string(),
        }
    }

    /// The cluster's id, as soon as a broker answers.
    pub(super) async fn reach(&self) -> Result<String, BusError> {
        let (asking, settings) = (Arc::clone(&self.asking), Arc::clone(&self.settings));
        blocking("cluster id", move || cluster_id(&asking, &settings)).await
    }

    /// How many partitions the topic has; nothing when there is no such topic.
    async fn partitions(&self, topic: Topic) -> Result<Option<u16>, BusError> {
        let name = self.settings.name(topic).to_owned();
        let asking = Arc::clone(&self.asking);
        let patience = self.settings.kafka.request_timeout;
        let asked = name.clone();
        let answer = blocking("metadata", move || {
            let metadata = asking.fetch_metadata(Some(&asked), patience);
            Ok(metadata.map(|metadata| {
                let topic = metadata.topics().iter().find(|topic| topic.name() == asked);
                topic.map(|topic| (topic.error().map(RDKafkaErrorCode::from), topic.partitions().len()))
            }))
        });
        match answer.await?.map_err(|error| self.unavailable(&name, error))? {
            None | Some((Some(RDKafkaErrorCode::UnknownTopicOrPartition), _)) => Ok(None),
            Some((Some(code), _)) if code != RDKafkaErrorCode::NoError => Err(self.unavailable(&name, code)),
            Some((_, partitions)) => Ok(Some(u16::try_from(partitions).unwrap_or(u16::MAX))),
        }
    }

    async fn create(&self, topic: Topic) -> Result<Change, BusError> {
        let settings = &self.settings;
        let (name, partitions) = (settings.name(topic), settings.partitions.of(topic));
        let limit = settings.framed_message_bytes().to_string();
        let retention = match topic {
            Topic::Commands | Topic::Reports | Topic::Assignments => Some(settings.kafka.retention),
            Topic::Heartbeats | Topic::Replies => Some(settings.kafka.short_retention),
            // The published history is for whoever comes later.
            Topic::Events => None,
        };
        let retention_ms = retention.map_or("-1".to_owned(), super::settings::millis);
        // Only closed segments go: close them in time.
        let segment_ms = retention.map(|retention| super::settings::millis((retention / 4).max(MINUTE)));
        let replication = TopicReplication::Fixed(i32::from(settings.kafka.replication_factor));
        let mut new = NewTopic::new(name, i32::from(partitions), replication)
            .set("cleanup.policy", "delete")
            .set("retention.ms", &retention_ms)
            .set("retention.bytes", "-1")
            .set(LIMIT, &limit);
        if let Some(segment_ms) = &segment_ms {
            new = new.set("segment.ms", segment_ms);
        }
        let results = self.client.create_topics([&new], &self.options()).await;
        let results = results.map_err(|error| self.unavailable(name, error))?;
        match results.into_iter().next() {
            // Two may migrate at the same time.
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) => Ok(Change::Created {
                topic: name.to_owned(),
                partitions,
            }),
            Some(Err((_, code))) => Err(BusError::Topics(format!("{name} was not created: {code}"))),
            None => Err(self.unavailable(name, "no answer")),
        }
    }

    async fn grow(&self, topic: Topic, from: u16, to: u16) -> Result<Change, BusError> {
        let name = self.settings.name(topic);
        let more = NewPartitions::new(name, usize::from(to));
        let results = self.client.create_partitions([&more], &self.options()).await;
        match results
            .map_err(|error| self.unavailable(name, error))?
            .into_iter()
            .next()
        {
            Some(Ok(_)) => Ok(Change::Grown {
                topic: name.to_owned(),
                from,
                to,
            }),
            Some(Err((_, code))) => Err(BusError::Topics(format!("{name} did not get more partitions: {code}"))),
            None => Err(self.unavailable(name, "no answer")),
        }
    }

    /// What the topic is configured with: all, and whether each was set for this topic.
    async fn configuration(&self, topic: Topic) -> Result<Vec<(String, String, bool)>, BusError> {
        let name = self.settings.name(topic);
        let resource = ResourceSpecifier::Topic(name);
        let described = self.client.describe_configs([&resource], &self.options()).await;
        let described = described.map_err(|error| self.unavailable(name, error))?;
        let resource = match described.into_iter().next() {
            Some(Ok(resource)) => resource,
            Some(Err(code)) => return Err(self.unavailable(name, code)),
            None => return Err(self.unavailable(name, "no answer")),
        };
        let entries = resource.entries.into_iter();
        Ok(entries
            .filter_map(|entry| Some((entry.name, entry.value?, entry.source == ConfigSource::DynamicTopic)))
            .collect())
    }

    async fn raise_limit(&self, topic: Topic) -> Result<Option<Change>, BusError> {
        let name = self.settings.name(topic);
        let limit = self.settings.framed_message_bytes();
        let configuration = self.configuration(topic).await?;
        if limit_of(&configuration) >= limit {
            return Ok(None);
        }
        let limit_text = limit.to_string();
        // The call replaces the whole configuration of the topic: what was set stays.
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(name)).set(LIMIT, &limit_text);
        for (key, value, _) in configuration.iter().filter(|(key, _, set)| *set && key != LIMIT) {
            alter = alter.set(key, value);
        }
        let altered = self.client.alter_configs([&alter], &self.options()).await;
        match altered
            .map_err(|error| self.unavailable(name, error))?
            .into_iter()
            .next()
        {
            Some(Ok(_)) => Ok(Some(Change::LimitRaised {
                topic: name.to_owned(),
                to_bytes: limit,
            })),
            Some(Err((_, code))) => Err(BusError::Topics(format!("{name}: {LIMIT} was not raised: {code}"))),
            None => Err(self.unavailable(name, "no answer")),
        }
    }

    /// Says what is wrong with these topics.
    pub(super) async fn check(&self, topics: &[Topic]) -> Result<(), BusError> {
        let mut problems = Vec::new();
        let limit = self.settings.framed_message_bytes();
        for &topic in topics {
            let name = self.settings.name(topic);
            let want = self.settings.partitions.of(topic);
            match self.partitions(topic).await? {
                None => problems.push(format!("{name} does not exist: run `grid migrate`")),
                Some(have) if have != want => problems.push(wrong_count(&self.settings, topic, have, want)),
                Some(_) => match self.configuration(topic).await {
                    Ok(configuration) if limit_of(&configuration) < limit => problems.push(format!(
                        "{name} has {LIMIT}={}, less than {limit}: run `grid migrate`, or lower bus.max_message_bytes",
                        limit_of(&configuration)
                    )),
                    Ok(_) => {}
                    // Reading it is a right that a client need not have.
                    Err(error) => tracing::warn!(topic = name, %error, "bus.check.unreadable"),
                },
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(BusError::Topics(problems.join("\n")))
        }
    }

    /// Waits until all brokers know the topics as they are now.
    async fn settle(&self) -> Result<(), BusError> {
        let deadline = Instant::now() + self.settings.kafka.request_timeout;
        loop {
            match self.check(&Topic::ALL).await {
                Err(BusError::Topics(_)) if Instant::now() < deadline => {
                    // Metadata spreads to the brokers without a word.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                settled => return settled,
            }
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn limit_of(configuration: &[(String, String, bool)]) -> u64 {
    let found = configuration.iter().find(|(key, _, _)| key == LIMIT);
    found.and_then(|(_, value, _)| value.parse().ok()).unwrap_or(0)
}

/// Runs what waits for a broker on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    what: &'static str,
    ask: impl FnOnce() -> Result<T, BusError> + Send + 'static,
) -> Result<T, BusError> {
    let asked = tokio::task::spawn_blocking(ask).await;
    asked.unwrap_or_else(|error| {
        Err(BusError::Unavailable {
            what: what.to_owned(),
            waited: Duration::ZERO,
            why: error.to_string(),
        })
    })
}
