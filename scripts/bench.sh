#!/usr/bin/env bash
# Every measurement, one after the other, on a machine that does nothing else; starts a Kafka of its own for those over
# Kafka (from the jars that the tests have fetched). With arguments: that one measurement, as `grid bench` has it.
set -euo pipefail
cd "$(dirname "$0")/.."
grid=$PWD/target/release/grid
if (($#)); then exec "$grid" bench "$@"; fi

jars=$HOME/.cache/grid/kafka-4.3.1
folder=$(mktemp -d)
kafka=
finish() {
    if [[ -n $kafka ]]; then
        kill "$kafka"
        wait "$kafka" || true
    fi
    rm -rf "$folder"
}
trap finish EXIT

measure() { # measure ARGUMENT…
    printf '\n== grid bench %s\n' "$*"
    "$grid" bench "$@"
}

start_kafka() {
    if [[ ! -e $jars/.complete ]]; then
        mvn -q -B -f tests/kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$jars"
        touch "$jars/.complete"
    fi
    cat >"$folder/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:19193
listeners=CLIENT://127.0.0.1:19192,CONTROLLER://127.0.0.1:19193
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
log.dirs=$folder/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
EOF
    local java=(java -cp "$jars/*")
    (cd "$folder" && "${java[@]}" kafka.tools.StorageTool format -t "$(head -c16 /dev/urandom | base64 | tr '+/' '-_' | tr -d =)" \
        -c server.properties) >"$folder/log" 2>&1
    (cd "$folder" && exec "${java[@]}" -Xms512m -Xmx512m kafka.Kafka server.properties) >>"$folder/log" 2>&1 &
    kafka=$!
    for _ in {1..300}; do
        if (exec 3<>/dev/tcp/127.0.0.1/19192) 2>/dev/null; then return; fi
        sleep 0.1
    done
    cat "$folder/log"
    return 1
}

measure tasks --replicas 1000,5000,25000
measure latency
measure fanout --tasks 10000,100000,1000000
measure list --jobs 1000,10000,100000
measure subscriptions
measure logs
measure api --jobs 100000 --tasks-per-job 10
measure metrics
measure overhead
measure start
measure start --finished-jobs 1000 --finished-tasks 1000 --unfinished-jobs 100 --unfinished-tasks 1000
measure pipeline --bytes 100000000,1000000000
start_kafka
measure tasks --replicas 1000,5000,25000 --kafka 127.0.0.1:19192
measure latency --kafka 127.0.0.1:19192
