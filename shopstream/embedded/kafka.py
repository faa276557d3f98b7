"""Configures the embedded Kafka: one KRaft node, broker and controller in one process, on the loopback interface."""

from __future__ import annotations

import base64
import os
import re
import shlex
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from rich.console import Console

from connectors.endpoints import KafkaEndpoint
from features.errors import ShopstreamError, UsageError
from shopstream.embedded import certificates, ports
from shopstream.embedded.artifacts import Artifact
from shopstream.embedded.certificates import COMMON_NAME, Certificates
from shopstream.embedded.java import java_home
from shopstream.embedded.process import Launch, run
from shopstream.settings import Settings

USERNAME: Final = "shopstream"
"""User of a secure Kafka with all permissions."""
MECHANISM: Final = "SCRAM-SHA-512"
MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024
TEN_YEARS_MIN: Final = 10 * 365 * 24 * 60
MAIN_CLASS: Final = "kafka.Kafka"
CONFIG: Final = "server.properties"

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


UNSUPPORTED: Final = re.compile(r'[,"\\\x00-\x1f\x7f\ud800-\udfff]|\$\{')
"""Characters that a data folder's path must not hold. Kafka always splits `log.dirs` at commas. The others have a
meaning in the servers' own files."""


def escaped(value: str) -> str:
    """Escape a value for a Java properties file, which is read as Latin-1."""
    units = value.encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2)]
    text = "".join(chr(code) if 0x20 <= code < 0x7F and code != ord("\\") else f"\\u{code:04X}" for code in codes)
    return f"\\{text}" if text.startswith(" ") else text


def check_home(home: Path) -> None:
    """Refuse a data folder whose path Kafka's settings cannot hold.

    Raises:
        UsageError: the path has a character of `UNSUPPORTED`.
    """
    if (match := UNSUPPORTED.search(str(home))) is not None:
        raise UsageError(
            f"The path of the data folder {str(home)!r} contains {match[0]!r}, which Kafka's settings cannot express.",
            "Set SHOPSTREAM_HOME to a path without it.",
        )


def owns(home: Path, command: Sequence[str]) -> bool:
    """Return whether a process with this command line is the broker of the data folder."""
    if len(command) < 2 or command[-2] != MAIN_CLASS:
        return False
    return os.path.realpath(command[-1]) == os.path.realpath(home / "kafka" / CONFIG)


def properties(data: Path, port: int, controller_port: int) -> dict[str, str]:
    """Return the content of `server.properties`.

    Args:
        data: folder of the log segments.
        port: port for clients, on the loopback interface.
        controller_port: port on which the broker reaches its own controller.
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
        # one node: internal topics have one copy, and few partitions so that the first group starts immediately
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
        # there is no other node to take over partitions
        "controlled.shutdown.enable": "false",
    }


def secured(port: int, controller_port: int, password: str, held: Certificates) -> dict[str, str]:
    """Return the properties of a secure broker that replace or extend `properties`; they hold passwords.

    Clients authenticate by SCRAM over TLS, the broker to its own controller by its certificate. All other users need
    ACLs.
    """
    host = ports.LOOPBACK
    login = "org.apache.kafka.common.security.scram.ScramLoginModule"
    return {
        "listeners": f"CLIENTS://{host}:{port},CONTROLLER://{host}:{controller_port}",
        "advertised.listeners": f"CLIENTS://{host}:{port}",
        "listener.security.protocol.map": "CLIENTS:SASL_SSL,CONTROLLER:SSL",
        "inter.broker.listener.name": "CLIENTS",
        "sasl.enabled.mechanisms": MECHANISM,
        "sasl.mechanism.inter.broker.protocol": MECHANISM,
        f"listener.name.clients.{MECHANISM.lower()}.sasl.jaas.config": (
            f'{login} required username="{USERNAME}" password="{password}";'
        ),
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(held.keystore),
        "ssl.keystore.password": held.password,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(held.authority),
        "listener.name.controller.ssl.client.auth": "required",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{USERNAME};User:CN={COMMON_NAME}",
    }


@dataclass(frozen=True, slots=True)
class KafkaServer:
    """Prepares the embedded Kafka of a data folder and checks its health."""

    settings: Settings
    jars: tuple[Artifact, ...]
    version: str
    secure: bool = False
    name: ClassVar[str] = "kafka"
    title: ClassVar[str] = "Kafka"
    inner_port: ClassVar[int] = 9093
    """Preferred port of the controller."""

    @property
    def folder(self) -> Path:
        """Folder of all files but the log."""
        return self.settings.home / "kafka"

    @property
    def password_file(self) -> Path:
        """File with the password of the user `shopstream` of a secure Kafka, readable by the current user only."""
        return self.settings.home / "secrets" / "kafka-password"

    @property
    def preferred_port(self) -> int:
        """Port to try first."""
        return self.settings.kafka.port

    def needed(self) -> tuple[Artifact, ...]:
        """Return the files that must be in the cache."""
        return self.jars

    def prepare(self, port: int, inner_port: int, console: Console, lock: int) -> Launch:
        """Write the configuration, format the storage once, and return how to start."""
        del console
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # customers' data
        data = self.folder / "data"
        formatted = (data / "meta.properties").is_file()
        if not formatted:
            _refuse_misread(data)
        values = properties(data, port, inner_port)
        if self.secure:
            values |= self._secured(port, inner_port, formatted=formatted)
        config = self.folder / CONFIG
        certificates.write_secret(config, "\n".join(f"{name}={escaped(value)}" for name, value in values.items()))
        logging = self.folder / "log4j2.properties"
        logging.write_text(LOG4J, "utf-8")

        launch = Launch(
            command=[*self._java(logging), f"-Xmx{self.settings.kafka.heap}", MAIN_CLASS, str(config)],
            environment=self._environment(),
            folder=self.folder,
            log=self.settings.home / "logs" / "kafka.log",
            lock=lock,
        )
        if not formatted:
            self._format(config, logging, launch)
        return launch

    def _format(self, config: Path, logging: Path, launch: Launch) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", f"--config={config}"]
        if not self.secure:
            run([*self._java(logging), *command], launch)
            return
        # this tool takes the first user's password as an argument: the file keeps it out of the list of processes
        user = f"{MECHANISM}=[name={USERNAME},password={certificates.read_secret(self.password_file)}]"
        arguments = self.folder / "format.args"
        certificates.write_secret(arguments, "\n".join(f'"{word}"' for word in [*command, f"--add-scram={user}"]))
        try:
            run([*self._java(logging), f"@{arguments}"], launch)
        finally:
            arguments.unlink()

    def _secured(self, port: int, inner_port: int, *, formatted: bool) -> dict[str, str]:
        if formatted and not self.password_file.is_file():
            raise ShopstreamError(
                f"The Kafka of {self.settings.home} was created without users, and users cannot be added.",
                "Use a new data folder (SHOPSTREAM_HOME), or leave SHOPSTREAM_SECURE unset.",
            )
        password = certificates.secret_file(self.password_file)
        return secured(port, inner_port, password, Certificates.of(self.settings.home))

    def cluster_id(self) -> str | None:
        """Return the id that the storage was formatted with; None before the first start."""
        try:
            text = (self.folder / "data" / "meta.properties").read_text("utf-8")
        except OSError:
            return None
        match = re.search(r"^cluster\.id=(.+)$", text, re.MULTILINE)
        return match[1].strip() if match else None

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
        """Return address and login for clients; properties of the settings take precedence.

        Raises:
            ShopstreamError: the server is secure, and the password file is missing or not readable.
        """
        login = self._login() if self.secure else {}
        return KafkaEndpoint(self.address(port), {**login, **self.settings.kafka.properties})

    def address(self, port: int) -> str:
        """Return `host:port` of the broker."""
        return f"{ports.LOOPBACK}:{port}"

    def _login(self) -> dict[str, str]:
        try:
            password = certificates.read_secret(self.password_file)
        except OSError as error:
            raise ShopstreamError(
                f"The password file {self.password_file} cannot be read: {error.strerror}.",
                "Run as the user who ran `shopstream up`.",
            ) from error
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISM,
            "sasl.username": USERNAME,
            "sasl.password": password,
            "ssl.ca.location": str(Certificates.of(self.settings.home).authority),
        }

    def shown_login(self) -> dict[str, str | None]:
        """Return the login of a client, with the password's file in place of the password."""
        if not self.secure:
            return {}
        return {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": MECHANISM,
            "username": USERNAME,
            "password_file": str(self.password_file),
            "ca_file": str(Certificates.of(self.settings.home).authority),
        }

    def is_healthy(self, port: int) -> bool:
        """Return whether the broker answers with its metadata."""
        from connectors.kafka.admin import answers  # noqa: PLC0415 - loads the Kafka client

        # librdkafka backs off after a refused connection, so probe the port first
        return ports.accepts(port) and answers(self.endpoint(port), timeout_s=5, cluster=self.cluster_id())


def _refuse_misread(data: Path) -> None:
    """Refuse a data folder whose non-ASCII path Kafka has misread: its log is in a folder with another name."""
    misread = Path(str(data).encode().decode("latin-1"))
    if misread != data and (misread / "meta.properties").is_file():
        raise ShopstreamError(
            f"Kafka misread the path of the data folder: its log is in {misread}.",
            f"Move it: mv {shlex.quote(str(misread))} {shlex.quote(str(data))}",
        )
