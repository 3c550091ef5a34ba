"""What the chart does not take, and whether it says what is wrong and where."""

import pytest

from chart import refusal

WRONG = [
    # Of the schema: what a value may be.
    ("vector.port=abc", "at '/vector/port': got string, want integer"),
    ("vector.batchmaxbytes=1", "at '/vector': additional properties 'batchmaxbytes' not allowed"),
    ("vector.batchMaxBytes=10", "at '/vector/batchMaxBytes': minimum: got 10, want 1,024"),
    ("vector.bufferMaxBytes=1000", "at '/vector/bufferMaxBytes': minimum"),
    ("grafana.image.tag=latest", "at '/grafana/image/tag'"),
    ("worker.slots=0", "at '/worker/slots': minimum: got 0, want 1"),
    ("jobmaster.replicas=0", "at '/jobmaster/replicas': minimum: got 0, want 1"),
    ("auth.anonymousRole=admin", "at '/auth/anonymousRole': value must be one of 'none', 'viewer', 'operator'"),
    ("image.pullPolicy=Sometimes", "at '/image/pullPolicy': value must be one of"),
    ("image.digest=sha256:12", "at '/image/digest': 'sha256:12' does not match pattern"),
    ("publicUrl=grid.example", "at '/publicUrl'"),
    ("victorialogs.persistence.size=10GB", "at '/victorialogs/persistence/size': '10GB' does not match pattern"),
    ("kafka.sasl.mechanism=GSSAPI", "at '/kafka/sasl/mechanism': value must be one of"),
    ("kafka.brokers=broker", "at '/kafka/brokers': 'broker' does not match pattern"),
    ("postgres.url=mysql://x", "at '/postgres/url'"),
    ("unknown=1", "additional properties 'unknown' not allowed"),
    # Of the checks: what values say about each other.
    ("postgres.internal.enabled=false", "give postgres.existingSecret (keys url and owner-url)"),
    ("postgres.existingSecret=mine", "set postgres.internal.enabled=false"),
    ("kafka.internal.enabled=false", "give kafka.brokers"),
    ("kafka.brokers=broker:9092", "set kafka.internal.enabled=false"),
    ("kafka.replicationFactor=3", "the Kafka inside is one node"),
    ("kafka.tls.caSecret=mine", "kafka.tls.enabled: it is false"),
    ("tls.enabled=true", "tls.secret: with tls.enabled"),
    ("influxdb.url=http://mine", "set influxdb.enabled=false"),
    ("victorialogs.url=http://mine", "set victorialogs.enabled=false"),
    ("victorialogs.enabled=false", "vector.enabled: there is no VictoriaLogs"),
    ("vector.enabled=false", "VictoriaLogs gets its lines from a Vector"),
    ("ingress.enabled=true", "ingress.host: with ingress.enabled"),
    ("grafana.ingress.enabled=true", "grafana.ingress.host"),
    ("ingress.enabled=true,ingress.host=a.example", "networkPolicy.from: name the namespaces"),
    ("worker.autoscaling.enabled=true,worker.autoscaling.type=keda", "networkPolicy.from: name the namespaces"),
    ("worker.autoscaling.minReplicas=50", "minReplicas is more than maxReplicas"),
    ("jobmaster.terminationGracePeriodSeconds=5", "at least 30"),
    ("config.server.listen=0.0.0.0:1", "config.server.listen: the chart sets it; it is 8080"),
    ("config.worker.slots=3", "config.worker.slots: the chart sets it; use worker.slots"),
    ("config.worker.vector=v:9000", "use vector, or vector.enabled=false"),
    ("config.Server.listen=1", "at '/config': additional properties 'Server' not allowed"),
]


@pytest.mark.parametrize("value, message", WRONG, ids=[value for value, _ in WRONG])
def test_a_wrong_value_is_refused_with_where_and_why(value, message):
    assert message in refusal(value)


def test_two_places_for_one_secret_are_refused():
    both = (
        "postgres.internal.enabled=false",
        "postgres.existingSecret=a",
        "postgres.url=postgres://b",
        "postgres.ownerUrl=postgres://c",
    )
    assert "one of both says where it is" in refusal(*both)
    assert "name the Secret that has the passwords" in refusal("kafka.sasl.existingSecret=", case="external")
    assert "shows no token" in refusal("vector.enabled=true", case="external")
