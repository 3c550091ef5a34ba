//! Those who follow what the shards of a process commit: the read models, and the publisher when there is a Kafka.

use crate::api::live::Hub;
use crate::domain::{Epoch, Seq, ShardId};
use crate::projection::{Feed, ProjectorHandle};
use crate::publish::{Item, PublisherHandle};
use crate::shard::{Committed, Followers};

pub struct Following {
    pub projector: ProjectorHandle,
    pub live: Hub,
    /// The bus inside a process has no readers of events.
    pub publisher: Option<PublisherHandle>,
}

impl Followers for Following {
    fn owned(&self, shard: ShardId, epoch: Epoch, next: Seq, published: Seq) {
        self.projector.open(shard, Seq(next.0 - 1));
        self.live.owned(shard, Seq(next.0 - 1));
        if let Some(publisher) = &self.publisher {
            publisher.own(shard, epoch, next, published);
        }
    }

    fn committed(&self, committed: Committed) {
        self.live.committed(&committed);
        let Committed {
            shard,
            epoch,
            first_seq,
            records,
            payloads,
        } = committed;
        if let Some(publisher) = &self.publisher {
            let items = records
                .iter()
                .zip(&*payloads)
                .zip(first_seq.0..)
                .map(|((record, payload), seq)| Item {
                    seq: Seq(seq),
                    stream: record.stream,
                    version: record.version,
                    payload: payload.clone(),
                });
            publisher.feed(shard, epoch, items);
        }
        self.projector.feed(Feed {
            shard,
            first_seq,
            records,
        });
    }

    fn disowned(&self, shard: ShardId) {
        self.projector.close(shard);
        if let Some(publisher) = &self.publisher {
            publisher.disown(shard);
        }
    }

    fn published(&self, shard: ShardId) -> Option<Seq> {
        self.publisher.as_ref().and_then(|publisher| publisher.published(shard))
    }
}
