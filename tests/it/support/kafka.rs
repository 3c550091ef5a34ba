//! A real Apache Kafka broker (one node, KRaft), from jars that Maven fetches once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::certificates::{Certificates, PASSWORD};
use super::{free_port, guardian, tail, wait_for};

const VERSION: &str = "4.3.1";

/// A running broker. One of its own ends on drop, the shared one with the process.
pub struct Kafka {
    folder: PathBuf,
    port: u16,
    sasl_port: u16,
    process: Mutex<Option<Child>>,
}

impl Kafka {
    /// The broker that all tests of this binary share. Never kill or stop it.
    pub fn shared() -> &'static Kafka {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(Kafka::start)
    }

    /// A broker for one test, which may kill it. Takes about four seconds.
    pub fn start() -> Kafka {
        Self::start_in(guardian::server_folder("kafka"), &[], "", &[])
    }

    /// With further listeners (name, protocol, port), properties, and arguments of the formatting.
    fn start_in(folder: PathBuf, more: &[(&str, &str, u16)], configured: &str, formatting: &[&str]) -> Kafka {
        let (port, sasl_port) = (free_port(), free_port());
        let clients = [("CLIENT", "PLAINTEXT", port), ("SASL", "SASL_PLAINTEXT", sasl_port)];
        let properties = properties(&folder, &[&clients[..], more].concat(), free_port());
        fs::write(folder.join("server.properties"), properties + configured).unwrap();
        fs::write(folder.join("log4j2.properties"), LOG4J2).unwrap();
        let formatted = java(&folder, &["-Xmx128m"])
            .args(["kafka.tools.StorageTool", "format", "-t", &random_cluster_id(), "-c"])
            .arg(folder.join("server.properties"))
            .args(formatting)
            .status()
            .expect("java (a JDK 17 or later) is needed to run the tests' Kafka");
        assert!(
            formatted.success(),
            "the storage of Kafka was not formatted:\n{}",
            tail(&folder.join("log"))
        );
        let kafka = Kafka {
            folder,
            port,
            sasl_port,
            process: Mutex::new(None),
        };
        kafka.restart();
        kafka
    }

    /// `host:port`, plain text.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `host:port` of the listener that wants SASL PLAIN, user `grid`, password `open sesame`.
    pub fn sasl_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.sasl_port)
    }

    /// A prefix of topic and group names that no other test has.
    pub fn fresh_prefix(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        format!("t{}.", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(&self) {
        if let Some(mut process) = self.process.lock().unwrap().take() {
            process.kill().unwrap();
            process.wait().unwrap();
            guardian::forget_pid(&self.folder);
        }
    }

    /// SIGSTOP: connections stay, nothing is answered until [`Kafka::resume`].
    pub fn pause(&self) {
        let pid = self.signal(Signal::SIGSTOP);
        // Until all of its threads have stopped it may answer.
        waitid(Id::Pid(pid), WaitPidFlag::WSTOPPED).unwrap();
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) -> Pid {
        let process = self.process.lock().unwrap();
        let pid = Pid::from_raw(process.as_ref().expect("the broker runs").id() as i32);
        kill(pid, signal).unwrap();
        pid
    }

    /// Writes all messages of a topic to `file`, by Kafka's own client (tests/kafka/ReadTopic.java says how), when each
    /// partition has the position that `wanted` says: `PARTITION:POSITION,…`.
    pub fn read_topic(&self, topic: &str, wanted: &str, file: &Path) {
        let read = java(&self.folder, &["-Xmx128m"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/ReadTopic.java"))
            .args([&self.brokers(), topic, wanted])
            .arg(file)
            .status()
            .unwrap();
        assert!(
            read.success(),
            "{topic} was not read:\n{}",
            tail(&self.folder.join("log"))
        );
    }

    /// Starts it on the same ports and data; returns when it answers.
    pub fn restart(&self) {
        let mut slot = self.process.lock().unwrap();
        assert!(slot.is_none(), "the broker runs already");
        let child = java(&self.folder, &["-Xms256m", "-Xmx384m", "-XX:+UseG1GC"])
            .arg("kafka.Kafka")
            .arg(self.folder.join("server.properties"))
            .spawn()
            .unwrap();
        guardian::note_pid(&self.folder, child.id(), "KILL");
        let child = slot.insert(child);
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.brokers())
            .set("broker.address.family", "v4")
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "100")
            .set("log_level", "0")
            .create()
            .unwrap();
        wait_for("Kafka answers", Duration::from_secs(120), || {
            let log = self.folder.join("log");
            assert!(
                child.try_wait().unwrap().is_none(),
                "Kafka ended at its start:\n{}",
                tail(&log)
            );
            let metadata = client.fetch_metadata(None, Duration::from_millis(500)).ok()?;
            (!metadata.brokers().is_empty()).then_some(())
        });
    }
}

/// A broker with listeners that want TLS.
pub struct Secured {
    pub certificates: Certificates,
    pub kafka: Kafka,
    tls_port: u16,
    login_port: u16,
}

impl Secured {
    pub fn start() -> Secured {
        let folder = guardian::server_folder("kafka");
        let certificates = Certificates::make(&folder);
        let (tls_port, login_port) = (free_port(), free_port());
        let store = certificates.store("broker");
        let store = store.display();
        let configured = format!(
            "\
ssl.keystore.type=PKCS12
ssl.keystore.location={store}
ssl.keystore.password={PASSWORD}
ssl.truststore.type=PKCS12
ssl.truststore.location={store}
ssl.truststore.password={PASSWORD}
listener.name.tls.ssl.client.auth=required
listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_grid=\"open sesame\";
listener.name.login.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"
        );
        let listeners = [("TLS", "SSL", tls_port), ("LOGIN", "SASL_SSL", login_port)];
        let scram = ["--add-scram", "SCRAM-SHA-256=[name=grid,password=open sesame]"];
        let kafka = Kafka::start_in(folder, &listeners, &configured, &scram);
        Secured {
            certificates,
            kafka,
            tls_port,
            login_port,
        }
    }

    /// `host:port` of the listener that wants a client's certificate.
    pub fn tls_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.tls_port)
    }

    /// `host:port` of the listener that wants SASL over TLS: PLAIN or SCRAM-SHA-256, user `grid`, password `open sesame`.
    pub fn login_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.login_port)
    }
}

/// A broker that refuses what no right allows. Its plain listener may do everything; the other one wants SASL
/// (SCRAM-SHA-256) and knows the roles of docs/kafka-acls.md.
pub struct Guarded {
    pub kafka: Kafka,
    login_port: u16,
}

impl Guarded {
    pub fn start() -> Guarded {
        let login_port = free_port();
        let configured = "\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
listener.name.login.sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.login.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
";
        let login = |role: &str| format!("SCRAM-SHA-256=[name={role},password=the {role}]");
        let logins = ["migrate", "jobmaster", "worker", "reader"].map(login);
        let formatting: Vec<&str> = logins.iter().flat_map(|login| ["--add-scram", login]).collect();
        let listeners = [("LOGIN", "SASL_PLAINTEXT", login_port)];
        let folder = guardian::server_folder("kafka");
        Guarded {
            kafka: Kafka::start_in(folder, &listeners, configured, &formatting),
            login_port,
        }
    }

    /// `host:port` of the listener that wants SASL.
    pub fn login_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.login_port)
    }

    /// Of the login that is called like the role.
    pub fn password(&self, role: &str) -> String {
        format!("the {role}")
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// `java` with Kafka's jars; its output goes to the file `log` of the folder.
fn java(folder: &Path, flags: &[&str]) -> Command {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .unwrap();
    let mut command = Command::new("java");
    command
        .args(flags)
        .args(["-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"])
        .arg(format!(
            "-Dlog4j2.configurationFile={}",
            folder.join("log4j2.properties").display()
        ))
        .arg("-cp")
        .arg(format!("{}/*", jars().display()))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command
}

/// The folder with Kafka's jars, fetched from Maven Central when it is not there.
fn jars() -> PathBuf {
    let home = PathBuf::from(std::env::var_os("HOME").expect("HOME is set"));
    let cache = home.join(".cache/grid");
    let folder = cache.join(format!("kafka-{VERSION}"));
    if folder.join(".complete").exists() {
        return folder;
    }
    fs::create_dir_all(&cache).unwrap();
    let lock = File::create(cache.join("kafka.lock")).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .unwrap();
    if folder.join(".complete").exists() {
        return folder;
    }
    let fetched = Command::new("mvn")
        .args([
            "-q",
            "-B",
            "-Dstyle.color=never",
            "-f",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/pom.xml"),
        ])
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", folder.display()))
        .status()
        .expect("mvn (Maven) is needed to fetch the tests' Kafka");
    assert!(
        fetched.success(),
        "mvn did not fetch the jars of Kafka into {}",
        folder.display()
    );
    File::create(folder.join(".complete")).unwrap();
    folder
}

/// 16 random bytes in URL-safe base64 without padding, as Kafka writes its ids.
fn random_cluster_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = uuid::Uuid::new_v4().as_u128();
    let digit = |n: u32| char::from(ALPHABET[(bits >> (6 * n)) as usize & 63]);
    // The first is never '-' (it would look like an option); the last one holds but two bits.
    std::iter::once('G').chain((1..21).map(digit)).chain(['A']).collect()
}

const LOG4J2: &str = "\
rootLogger.level=warn
rootLogger.appenderRef.out.ref=OUT
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c: %m%n
";

fn properties(folder: &Path, clients: &[(&str, &str, u16)], controller_port: u16) -> String {
    let data = folder.join("data");
    let data = data.display();
    let all = |line: &dyn Fn(&(&str, &str, u16)) -> String| clients.iter().map(line).collect::<Vec<_>>().join(",");
    let listeners = all(&|(name, _, port)| format!("{name}://127.0.0.1:{port}"));
    let protocols = all(&|(name, protocol, _)| format!("{name}:{protocol}"));
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners={listeners},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={listeners}
listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT
listener.name.sasl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_grid=\"open sesame\";
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
log.cleaner.dedupe.buffer.size=8388608
"
    )
}
