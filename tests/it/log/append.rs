//! Committing, fencing, and what the journal says of each batch.

use grid::domain::{Seq, ShardId};

use super::{Fixture, batch, committed, run, tinies};

#[test]
fn what_was_committed_is_read_back_byte_for_byte() {
    run(async {
        let fixture = Fixture::new().await;
        let claimed = fixture.claim(3).await;
        let events = tinies(5);
        let bytes: Vec<_> = events.iter().map(|event| event.encode()).collect();
        let first = committed(fixture.journal.commit(batch(&claimed, Seq(1), events)).await);
        assert_eq!((first.first_seq, first.last_seq), (Seq(1), Seq(5)));
        let second = committed(fixture.journal.commit(batch(&claimed, Seq(6), tinies(2))).await);
        assert_eq!(second.last_seq, Seq(7));
        // Without events: the shard's row alone.
        let none = committed(fixture.journal.commit(batch(&claimed, Seq(8), Vec::new())).await);
        assert_eq!((none.last_seq, none.payloads.len()), (Seq(7), 0));
        let page = fixture.log.events_after(ShardId(3), Seq(0), 100).await.unwrap();
        assert_eq!(page.through, Seq(7));
        assert_eq!(page.events.iter().map(|it| it.position.seq.0).collect::<Vec<_>>(), (1..=7).collect::<Vec<_>>());
        assert!(page.events.iter().zip(&bytes).all(|(stored, bytes)| stored.payload == *bytes));
        assert_eq!(fixture.psql("SELECT count(*), min(first_seq), max(last_seq) FROM batches WHERE shard = 3"), "2|1|7");
        let again = fixture.claim(3).await;
        assert_eq!((again.next_seq, again.epoch.0), (Seq(8), 2));
        assert_eq!(&*again.cursor.bus, "test-bus");
    });
}
