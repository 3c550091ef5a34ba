//! Those who follow what the shards of a process commit: the read models, and the publisher when there is one.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::domain::{Epoch, Seq, ShardId};
use crate::projection::{Feed, ProjectorHandle};
use crate::shard::{Committed, Followers};

pub struct Following {
    pub projector: ProjectorHandle,
    published: RwLock<BTreeMap<ShardId, Seq>>,
}

impl Following {
    pub fn new(projector: ProjectorHandle) -> Self {
        Self { projector, published: RwLock::new(BTreeMap::new()) }
    }
}

impl Followers for Following {
    fn owned(&self, shard: ShardId, _epoch: Epoch, next: Seq, published: Seq) {
        self.published.write().unwrap_or_else(PoisonError::into_inner).insert(shard, published);
        self.projector.open(shard, Seq(next.0 - 1));
    }

    fn committed(&self, committed: Committed) {
        let Committed { shard, first_seq, records, .. } = committed;
        self.projector.feed(Feed { shard, first_seq, records });
    }

    fn disowned(&self, shard: ShardId) {
        self.published.write().unwrap_or_else(PoisonError::into_inner).remove(&shard);
        self.projector.close(shard);
    }

    fn published(&self, shard: ShardId) -> Seq {
        self.published.read().unwrap_or_else(PoisonError::into_inner).get(&shard).copied().unwrap_or_default()
    }
}
