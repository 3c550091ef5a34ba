//! Owning partitions of the commands over Kafka: sharing, revoking, taking over, and the proof that a member is one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use grid::bus::{Bus, KafkaOptions, Membership, Ownership, ProveError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::kafka_only::{another, made};
use super::{PATIENCE, SHARDS, kafka_options};
use crate::support::Kafka;

/// A member that closes its shards at once when told to.
pub struct Holder {
    pub membership: Membership,
    /// Partition to generation.
    pub held: BTreeMap<u16, u64>,
    revoked: usize,
    lost: usize,
}

impl Holder {
    pub fn new(membership: Membership) -> Self {
        Self {
            membership,
            held: BTreeMap::new(),
            revoked: 0,
            lost: 0,
        }
    }

    pub async fn step(&mut self) {
        match self.membership.next().await.expect("a member") {
            Ownership::Assigned { partition, generation } => {
                assert_eq!(self.held.insert(partition, generation), None, "assigned twice");
            }
            Ownership::Revoked { partition } => {
                self.held.remove(&partition).expect("revoked what was assigned");
                self.revoked += 1;
                self.membership.member().release(partition);
            }
            Ownership::Lost { partition } => {
                self.held.remove(&partition).expect("lost what was assigned");
                self.lost += 1;
            }
        }
    }

    pub async fn until_holding(&mut self, count: usize) {
        let held = async {
            while self.held.len() != count {
                self.step().await;
            }
        };
        tokio::time::timeout(PATIENCE, held)
            .await
            .expect("the partitions are assigned in time");
    }

    async fn prove_all(&self) {
        for (partition, generation) in &self.held {
            self.membership.member().prove(*partition, *generation).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_and_take_over() {
    let kafka = kafka_options(Kafka::shared());
    let (one, other) = (made(&kafka).await, another(&kafka).await);
    let all = usize::from(SHARDS);
    let mut first = Holder::new(one.join().await.unwrap());
    first.until_holding(all).await;
    first.prove_all().await;

    let mut second = Holder::new(other.join().await.unwrap());
    tokio::join!(first.until_holding(all / 2), second.until_holding(all / 2));
    assert!(first.held.keys().all(|partition| !second.held.contains_key(partition)));
    assert_eq!((first.revoked, first.lost), (all / 2, 0));
    first.prove_all().await;
    second.prove_all().await;
    let given_up = *second.held.keys().next().unwrap();
    let proved = first.membership.member().prove(given_up, 1).await;
    assert_eq!(proved, Err(ProveError::NotOwner { partition: given_up }));

    second.membership.member().leave().await;
    first.until_holding(all).await;
    first.prove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_partition_waits_for_its_release_but_not_for_ever() {
    let mut kafka = kafka_options(Kafka::shared());
    kafka.revoke_timeout = Duration::from_secs(3);
    let (one, other) = (made(&kafka).await, another(&kafka).await);
    let all = usize::from(SHARDS);
    let mut first = Holder::new(one.join().await.unwrap());
    first.until_holding(all).await;
    let mut second = Holder::new(other.join().await.unwrap());
    let mut revoked = Vec::new();
    while revoked.len() < all / 2 {
        let news = tokio::time::timeout(PATIENCE, first.membership.next()).await.unwrap();
        let Some(Ownership::Revoked { partition }) = news else {
            panic!("{news:?}")
        };
        let proved = first.membership.member().prove(partition, first.held[&partition]).await;
        assert_eq!(
            proved,
            Err(ProveError::NotOwner { partition }),
            "what is wanted back is not claimed again"
        );
        revoked.push(partition);
    }
    let asked = Instant::now();
    // Nothing is released, so nothing is given to the other one before the time is over.
    assert!(
        tokio::time::timeout(Duration::from_secs(1), second.until_holding(all / 2))
            .await
            .is_err()
    );
    assert!(second.held.is_empty());
    second.until_holding(all / 2).await;
    assert!(asked.elapsed() > Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!(second.held.keys().copied().collect::<Vec<_>>(), {
        revoked.sort_unstable();
        revoked
    });
}

/// The process that `a_stopped_member_is_refused_when_it_wakes` starts; nothing without that one's word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_process() {
    let Ok(text) = std::env::var("GRID_TEST_MEMBER") else {
        return;
    };
    let (brokers, prefix) = text.split_once('|').unwrap();
    let kafka = KafkaOptions {
        brokers: Some(brokers.to_owned()),
        topic_prefix: prefix.to_owned(),
        session_timeout: Duration::from_millis(1500),
        ..KafkaOptions::default()
    };
    let bus = another(&kafka).await;
    let mut member = Holder::new(bus.join().await.unwrap());
    member.until_holding(usize::from(SHARDS)).await;
    member.prove_all().await;
    println!("member: holding");
    let mut word = String::new();
    std::io::stdin().read_line(&mut word).unwrap();
    assert_eq!(word.trim(), "prove");
    // As a shard would that has not heard of anything yet.
    for (partition, generation) in &member.held {
        println!(
            "member: {:?}",
            member.membership.member().prove(*partition, *generation).await
        );
    }
    println!("member: done");
}

struct MemberProcess(Child);

impl Drop for MemberProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_member_is_refused_when_it_wakes() {
    let kafka = kafka_options(Kafka::shared());
    let bus = made(&kafka).await;
    let mut old = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "bus::ownership::member_process", "--nocapture"])
        .env(
            "GRID_TEST_MEMBER",
            format!("{}|{}", kafka.brokers.as_deref().unwrap(), kafka.topic_prefix),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(old.id() as i32);
    let mut stdin = old.stdin.take().unwrap();
    let mut lines = BufReader::new(old.stdout.take().unwrap()).lines().map(Result::unwrap);
    let _old = MemberProcess(old);
    assert!(lines.any(|line| line.contains("member: holding")));

    kill(pid, Signal::SIGSTOP).unwrap();
    let mut new = Holder::new(bus.join().await.unwrap());
    new.until_holding(usize::from(SHARDS)).await;
    new.prove_all().await;
    writeln!(stdin, "prove").unwrap();
    kill(pid, Signal::SIGCONT).unwrap();

    let told = tokio::task::spawn_blocking(move || {
        lines
            .take_while(|line| !line.contains("member: done"))
            .filter(|line| line.contains("member: "))
            .collect()
    });
    let told: Vec<String> = tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap();
    assert_eq!(told.len(), usize::from(SHARDS), "{told:?}");
    assert!(told.iter().all(|line| line.contains("NotOwner")), "{told:?}");
}

/// Fault: the broker has given up a member that does not know it yet. Must hold: the member's proofs are refused at
/// once, it is told that it lost everything, and it owns again under new generations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_given_up_is_refused_before_it_knows() {
    let mut kafka = kafka_options(Kafka::shared());
    // Beats every second: it learns late.
    kafka.session_timeout = Duration::from_secs(6);
    let bus = made(&kafka).await;
    let mut member = Holder::new(bus.join().await.unwrap());
    let all = usize::from(SHARDS);
    member.until_holding(all).await;
    member.prove_all().await;
    let generations = member.held.clone();
    expel_all(&kafka).await;
    for (partition, generation) in &generations {
        let proved = member.membership.member().prove(*partition, *generation).await;
        assert_eq!(proved, Err(ProveError::NotOwner { partition: *partition }));
    }
    member.until_holding(0).await;
    assert_eq!((member.lost, member.revoked), (all, 0));
    member.until_holding(all).await;
    assert!(
        member
            .held
            .iter()
            .all(|(partition, generation)| *generation > generations[partition])
    );
    member.prove_all().await;
}

/// Fault: the client of a member fails for good, here because somebody else has come under its name. Must hold: it is
/// told that it lost everything, nothing can be proved until then, and it joins again as another client and owns under
/// new generations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_failed_for_good_joins_again() {
    let mut kafka = kafka_options(Kafka::shared());
    kafka.properties = [("group.instance.id", "the-only-one")].into_iter().collect();
    let bus = made(&kafka).await;
    let mut member = Holder::new(bus.join().await.unwrap());
    let all = usize::from(SHARDS);
    member.until_holding(all).await;
    member.prove_all().await;
    let generations = member.held.clone();

    let impostor = tokio::task::spawn_blocking({
        let kafka = kafka.clone();
        move || impostor(&kafka)
    });
    member.until_holding(0).await;
    assert_eq!((member.lost, member.revoked), (all, 0));
    for (partition, generation) in &generations {
        let proved = member.membership.member().prove(*partition, *generation).await;
        assert_eq!(proved, Err(ProveError::NotOwner { partition: *partition }));
    }
    // It comes back under the same name, which now fails the other one.
    member.until_holding(all).await;
    let later = |(partition, generation): (&u16, &u64)| *generation > generations[partition];
    assert!(member.held.iter().all(later));
    member.prove_all().await;
    impostor.await.unwrap();
}

/// Joins the group under the member's name, until it fails for good itself.
fn impostor(kafka: &KafkaOptions) {
    let mut config = rdkafka::ClientConfig::new();
    config
        .set("bootstrap.servers", kafka.brokers.as_deref().unwrap())
        .set("group.id", format!("{}jobmasters", kafka.topic_prefix))
        .set("group.instance.id", "the-only-one")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "1500")
        .set("heartbeat.interval.ms", "200")
        .set("log_level", "0");
    let consumer: BaseConsumer = config.create().unwrap();
    consumer
        .subscribe(&[&format!("{}commands", kafka.topic_prefix)])
        .unwrap();
    let begun = Instant::now();
    while consumer.client().fatal_error().is_none() {
        assert!(begun.elapsed() < PATIENCE, "nobody has come back");
        drop(consumer.poll(Duration::from_millis(100)));
    }
}

/// Says to the broker, in every member's name, that it leaves the group (LeaveGroup, version 1).
async fn expel_all(kafka: &KafkaOptions) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", kafka.brokers.as_deref().unwrap());
    let client: BaseConsumer = config.create().unwrap();
    let group = format!("{}jobmasters", kafka.topic_prefix);
    let groups = tokio::task::block_in_place(|| client.fetch_group_list(Some(&group), PATIENCE)).unwrap();
    for member in groups.groups()[0].members() {
        let text = |text: &str| [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat();
        let (api, version, correlation) = (13_i16.to_be_bytes(), 1_i16.to_be_bytes(), 7_i32.to_be_bytes());
        let request = [
            &api[..],
            &version[..],
            &correlation[..],
            &text("test"),
            &text(&group),
            &text(member.id()),
        ]
        .concat();
        let mut stream = tokio::net::TcpStream::connect(kafka.brokers.as_deref().unwrap())
            .await
            .unwrap();
        stream.write_i32(request.len() as i32).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let mut answer = vec![0; stream.read_i32().await.unwrap() as usize];
        stream.read_exact(&mut answer).await.unwrap();
        // Correlation, throttle time, error.
        assert_eq!(
            (&answer[..4], &answer[8..]),
            (&correlation[..], &[0, 0][..]),
            "the broker refused"
        );
    }
}
