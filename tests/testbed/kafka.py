"""The brokers: KRaft's combined mode, each on a host of its own, the rack being the zone of the node of that number."""

import base64
import os
import secrets
import shutil
import socket
from pathlib import Path

from . import layout, network
from .hosts import Hosts
from .layout import Instance
from .processes import run

_LOG_SETTINGS = layout.HERE / "java/log4j2.properties"
MACHINE_OPTIONS = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xlog:disable", "-Xlog:all=error:stderr")
_LOGIN = "org.apache.kafka.common.security"
STARTED = b"Kafka Server started"
# The quick compiler alone halves the processor time of a start. For benchmarks set it to an empty string.
_JAVA_OPTS = os.environ.get("TESTBED_JAVA_OPTS", "-XX:TieredStopAtLevel=1").split()


def java(*options: str) -> list[str]:
    """The words that run a main class of Kafka; the class and its arguments follow."""
    jars = ":".join(sorted(str(jar) for jar in layout.JARS.glob("*.jar")))
    settings = [f"-Dlog4j2.configurationFile={_LOG_SETTINGS}", "-Djava.net.preferIPv4Stack=true"]
    return ["java", *MACHINE_OPTIONS, *_JAVA_OPTS, *options, "-cp", jars, *settings]


def properties(number: int, *, brokers: int, data: Path) -> str:
    """The configuration of one broker of so many."""
    me, name, pki = layout.broker_ip(number), layout.broker_address(number), layout.PKI
    plain, sasl, mutual = layout.KAFKA_PORT, layout.KAFKA_SASL_PORT, layout.KAFKA_MUTUAL_PORT
    voters = ",".join(f"{n}@{layout.broker_ip(n)}:9095" for n in range(1, brokers + 1))
    copies, in_sync = min(3, brokers), min(2, brokers)
    users = " ".join(f'user_{user}="{password}"' for user, password in layout.KAFKA_USERS.items())
    return f"""process.roles=broker,controller
node.id={number}
broker.rack={layout.zone(number)}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{me}:{plain},SASL_SSL://{me}:{sasl},SSL://{me}:{mutual},INTERNAL://{me}:9094,CONTROLLER://{me}:9095
advertised.listeners=PLAINTEXT://{name}:{plain},SASL_SSL://{name}:{sasl},SSL://{name}:{mutual},INTERNAL://{me}:9094
inter.broker.listener.name=INTERNAL
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config={_LOGIN}.plain.PlainLoginModule required {users};
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={_LOGIN}.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={_LOGIN}.scram.ScramLoginModule required;
listener.name.ssl.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={pki}/{layout.broker_name(number)}.pem
ssl.truststore.type=PEM
ssl.truststore.location={pki}/kafka-ca.crt
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users={";".join(f"User:{user}" for user in layout.KAFKA_SUPER_USERS)}
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=5
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
# So that a test which lowers producer.id.expiration.ms need not wait for ten minutes.
producer.id.expiration.check.interval.ms=500
# A topic that is due for compaction need not wait for it.
log.cleaner.backoff.ms=1000
# The rest shortens the outage after a broker is lost.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
request.timeout.ms=3000
replica.lag.time.max.ms=6000
controlled.shutdown.max.retries=1
"""


def format_storage(folder: Path) -> None:
    """Runs Kafka's storage tool for a new folder; every broker starts from a copy of it, with the SCRAM users in it."""
    folder.mkdir()
    settings = folder.with_suffix(".properties")
    settings.write_text(properties(1, brokers=1, data=folder))
    users = []
    for user, password in layout.KAFKA_USERS.items():
        users += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
    tool = [*java(), "kafka.tools.StorageTool", "format", "-t", _uuid(), "-c", str(settings), *users]
    run(*tool)
    settings.unlink()


def write_storage(folder: Path, number: int) -> None:
    """Makes the data folder of a new broker from the formatted one, in the broker's own name."""
    folder.mkdir()
    shutil.copy(layout.KAFKA_FORMATTED / "bootstrap.checkpoint", folder)
    lines = (layout.KAFKA_FORMATTED / "meta.properties").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("node.id=", "directory.id=", "#"))]
    own = [f"node.id={number}", f"directory.id={_uuid()}", ""]
    (folder / "meta.properties").write_text("\n".join(kept + own))


def start(hosts: Hosts, number: int, *, brokers: int) -> None:
    """Starts a new broker, whose host must run; `await_started` tells when it accepts connections."""
    name = layout.broker_name(number)
    data = hosts.instance.run / name
    write_storage(data, number)
    settings = hosts.instance.run / f"{name}.properties"
    settings.write_text(properties(number, brokers=brokers, data=data))
    # Classes from an archive halve the start once more; a JVM that can't use it loads them from the jars.
    command = java(f"-XX:SharedArchiveFile={layout.KAFKA_CLASSES}", "-Xshare:auto")
    hosts.spawn(name, name, [*command, "kafka.Kafka", str(settings)])


def await_started(hosts: Hosts, number: int) -> None:
    """Returns once a broker that was started accepts connections."""
    name = layout.broker_name(number)

    def started() -> bool:
        return STARTED in hosts.log_of_present_run(name) and _accepts(hosts.instance, number)

    hosts.wait_for(f"{name} to accept connections", started, timeout_seconds=120)


def _accepts(instance: Instance, number: int) -> bool:
    def connect() -> bool:
        with socket.socket() as sock:
            sock.settimeout(0.3)
            return sock.connect_ex((layout.broker_ip(number), layout.KAFKA_PORT)) == 0

    return network.call_in(instance, layout.CLIENT, connect)


def _uuid() -> str:
    """A random identifier as Kafka writes it; its tools would take a leading hyphen for an option."""
    return "A" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode()[1:22]
