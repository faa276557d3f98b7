"""The embedded Kafka: one KRaft node, broker and controller in one process, on the loopback interface."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from rich.console import Console

from shopstream.servers import ports
from shopstream.servers.artifacts import Artifact
from shopstream.servers.endpoints import KafkaEndpoint
from shopstream.servers.java import java_home
from shopstream.servers.process import Launch, run
from shopstream.settings import Settings

MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024
TEN_YEARS_MIN: Final = 10 * 365 * 24 * 60

LOG4J: Final = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %m (%c{1})%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
# each prints the whole configuration at every start
logger.config.name = org.apache.kafka.common.config
logger.config.level = warn
logger.kafkaconfig.name = kafka.server.KafkaConfig
logger.kafkaconfig.level = warn
"""


def properties(data: Path, port: int, controller_port: int) -> dict[str, str]:
    """The content of `server.properties`.

    Args:
        data: the folder of the log segments.
        port: where clients connect, on the loopback interface.
        controller_port: where the broker reaches its own controller.
    """
    host = ports.LOOPBACK
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{host}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{host}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        # one node: internal topics have one copy, and few partitions so that the first group starts at once
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # a misspelt topic is an error, not a new topic with the wrong settings
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # checkpoints are fenced by committed offsets, so these must outlive any pause of a consumer
        "offsets.retention.minutes": str(TEN_YEARS_MIN),
        "message.max.bytes": str(MESSAGE_BYTES_MAX),
        "replica.fetch.max.bytes": str(MESSAGE_BYTES_MAX),
        "log.cleaner.enable": "true",
        # the default of 128 MiB is a quarter of the heap
        "log.cleaner.dedupe.buffer.size": str(32 * 1024 * 1024),
        # there is no other node to hand partitions to
        "controlled.shutdown.enable": "false",
    }


@dataclass(frozen=True, slots=True)
class KafkaServer:
    """How the embedded Kafka of a data folder is prepared and asked for its health."""

    settings: Settings
    jars: tuple[Artifact, ...]
    version: str
    name: ClassVar[str] = "kafka"
    title: ClassVar[str] = "Kafka"
    inner_port: ClassVar[int] = 9093
    """Preferred port of the controller."""

    @property
    def folder(self) -> Path:
        """All of its files but the log."""
        return self.settings.home / "kafka"

    @property
    def preferred_port(self) -> int:
        """The port asked for first."""
        return self.settings.kafka.port

    def needed(self) -> tuple[Artifact, ...]:
        """The files that must be in the cache."""
        return self.jars

    def prepare(self, port: int, inner_port: int, console: Console) -> Launch:
        """Write the configuration, format the storage once, and say how to start."""
        del console
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # customers' data
        data = self.folder / "data"
        config = self.folder / "server.properties"
        lines = (f"{name}={value}" for name, value in properties(data, port, inner_port).items())
        config.write_text("\n".join(lines) + "\n", "utf-8")
        logging = self.folder / "log4j2.properties"
        logging.write_text(LOG4J, "utf-8")

        launch = Launch(
            command=[*self._java(logging), f"-Xmx{self.settings.kafka.heap}", "kafka.Kafka", str(config)],
            environment=self._environment(),
            folder=self.folder,
            log=self.settings.home / "logs" / "kafka.log",
        )
        if not (data / "meta.properties").is_file():
            cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            format_options = [f"--cluster-id={cluster_id}", f"--config={config}"]
            run([*self._java(logging), "kafka.tools.StorageTool", "format", *format_options], launch)
        return launch

    def cluster_id(self) -> str | None:
        """The id the storage was formatted with; None before the first start."""
        try:
            text = (self.folder / "data" / "meta.properties").read_text("utf-8")
        except OSError:
            return None
        found = re.search(r"^cluster\.id=(.+)$", text, re.MULTILINE)
        return found[1].strip() if found else None

    def _java(self, logging: Path) -> list[str]:
        options = ["-Xms128m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:+ExitOnOutOfMemoryError"]
        return [
            str(java_home() / "bin" / "java"),
            *options,
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={logging}",
        ]

    def _environment(self) -> Mapping[str, str]:
        jars = (artifact.path(self.settings.cache) for artifact in self.jars)
        return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "CLASSPATH": ":".join(map(str, jars))}

    def endpoint(self, port: int) -> KafkaEndpoint:
        """Where clients connect."""
        return KafkaEndpoint(f"{ports.LOOPBACK}:{port}", dict(self.settings.kafka.properties))

    def is_healthy(self, port: int) -> bool:
        """Whether the broker answers with its metadata."""
        from shopstream.servers.kafka_admin import answers  # noqa: PLC0415 - loads the Kafka client

        # librdkafka backs off after a refused connection, so ask the socket first
        return ports.accepts(port) and answers(self.endpoint(port), timeout_s=5)
