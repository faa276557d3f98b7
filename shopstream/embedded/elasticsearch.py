"""Configures the embedded Elasticsearch: one node on the loopback interface, with password security."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from rich.console import Console

from connectors.endpoints import ElasticEndpoint
from features.errors import ShopstreamError
from shopstream.embedded import artifacts, certificates, ports
from shopstream.embedded.account import ServerAccount, give, reachable_folder
from shopstream.embedded.certificates import Certificates
from shopstream.embedded.elastic_users import ADMIN, PAGE, READER, has_admin, write_limited_user, write_users
from shopstream.embedded.java import java_home, java_version, readable
from shopstream.embedded.process import Launch, run
from shopstream.settings import Settings

UNWANTED_JVM_OPTIONS: Final = (
    "jdk.incubator.vector",  # a module that the wheel's Java runtime lacks
    "-Xlog:gc",  # would write up to 2 GB of logs
    "HeapDump",
    "ErrorFile",
)

LOG4J: Final = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %m (%c{1})%n%consoleException
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
# this distribution has no native roles to sync; it logs a stack trace at every new index
logger.roles.name = org.elasticsearch.xpack.security.support.QueryableBuiltInRolesSynchronizer
logger.roles.level = error
"""


USER_TIMEOUT_S: Final = 20.0
"""Longest wait until a running server accepts a new user; it reads its files every 5 s."""
KEYSTORE: Final = "server.p12"
KEYSTORE_SETTING: Final = "xpack.security.http.ssl.keystore.secure_password"
PATH_ARGUMENT: Final = "-Des.path.conf="
SERVER_ARGUMENT: Final = "-Dcli.name=server"


def owns(home: Path, command: Sequence[str]) -> bool:
    """Return whether a process with this command line is the Elasticsearch of the data folder."""
    config = os.path.realpath(home / "elasticsearch" / "config")
    named = (one.removeprefix(PATH_ARGUMENT) for one in command if one.startswith(PATH_ARGUMENT))
    return SERVER_ARGUMENT in command and any(os.path.realpath(one) == config for one in named)


def configuration(folder: Path, port: int, transport_port: int, *, secure: bool = False) -> dict[str, str]:
    """Return the content of `elasticsearch.yml`, as flat settings.

    Args:
        folder: folder of the server, with its data.
        port: HTTP port, on the loopback interface.
        transport_port: port for other nodes; there are none.
        secure: whether to serve HTTPS, with the certificate of `KEYSTORE` next to the file.
    """
    tls = {"xpack.security.http.ssl.keystore.path": KEYSTORE} if secure else {}
    return {
        "cluster.name": "shopstream",
        "node.name": "shopstream",
        "path.data": str(folder / "data"),
        "path.logs": str(folder / "logs"),
        "network.host": ports.LOOPBACK,
        "http.port": str(port),
        "transport.port": str(transport_port),
        "discovery.type": "single-node",
        "xpack.security.enabled": "true",
        "xpack.security.autoconfiguration.enabled": "false",
        # the built-in users' first password could be derived from the keystore: ours are in the file realm
        "xpack.security.authc.reserved_realm.enabled": "false",
        "xpack.security.http.ssl.enabled": str(secure).lower(),
        **tls,
        "xpack.security.transport.ssl.enabled": "false",
        # several runs and years have monthly indices side by side; the default of 1000 is meant for big shards
        "cluster.max_shards_per_node": "3000",
        # The default watermarks are shares of the disk: a laptop at 90 % would get no shard despite 100 GB of free
        # space. In bytes they still protect against a full disk.
        "cluster.routing.allocation.disk.watermark.low": "2gb",
        "cluster.routing.allocation.disk.watermark.high": "1gb",
        "cluster.routing.allocation.disk.watermark.flood_stage": "500mb",
    }


@dataclass(frozen=True, slots=True)
class ElasticsearchServer:
    """Prepares the embedded Elasticsearch of a data folder and checks its health."""

    settings: Settings
    artifact: artifacts.Artifact
    account: ServerAccount | None
    """Account that it runs as; None is the current user."""
    secure: bool = False
    name: ClassVar[str] = "elasticsearch"
    title: ClassVar[str] = "Elasticsearch"
    inner_port: ClassVar[int] = 9300
    """Preferred port of the transport."""

    @property
    def version(self) -> str:
        """Version of the server."""
        return self.artifact.version

    @property
    def folder(self) -> Path:
        """Folder of all files but log and password; a link if the account cannot reach the data folder."""
        return self.settings.home / "elasticsearch"

    @property
    def password_file(self) -> Path:
        """File with the password of the user `elastic`, readable by the current user only."""
        return self.settings.home / "secrets" / "elastic-password"

    @property
    def preferred_port(self) -> int:
        """Port to try first."""
        return self.settings.elasticsearch.port

    @property
    def reader_file(self) -> Path:
        """File with the password of the read-only user, readable by the current user only."""
        return self.settings.home / "secrets" / "elastic-reader-password"

    @property
    def page_file(self) -> Path:
        """File with the password of the live page's user, readable by the current user only."""
        return self.settings.home / "secrets" / "elastic-page-password"

    def needed(self) -> tuple[artifacts.Artifact, ...]:
        """Return the files to download: none once the archive is unpacked; `prepare` checks the tree."""
        return () if artifacts.tree_path(self.artifact, self.settings.cache).is_dir() else (self.artifact,)

    def prepare(self, port: int, inner_port: int, console: Console, lock: int) -> Launch:
        """Write the configuration and the users, and return how to start."""
        folder = reachable_folder(self.folder, self.account)
        if self.folder.is_symlink():
            console.print(
                f"[yellow]note[/] {self.account and self.account.name} cannot enter {self.settings.home}; "
                f"Elasticsearch's files are in {folder}",
                highlight=False,
                soft_wrap=True,
            )
        download = artifacts.central_repository(self.settings.maven_url)
        tree = artifacts.unpack(self.artifact, self.settings.cache, console, download)
        tree = readable(tree, self.account, folder / tree.name)
        config, temporary = folder / "config", folder / "tmp"
        for made in (config, temporary, folder / "data", folder / "logs"):
            made.mkdir(exist_ok=True)
        # an Elasticsearch that was killed while it wrote its first keystore leaves this file, and refuses to replace it
        (config / "elasticsearch.keystore.tmp").unlink(missing_ok=True)
        self._write_config(tree, config, configuration(folder, port, inner_port, secure=self.secure))
        for given in (config, temporary):
            give(given, self.account)
        for given in (folder / "data", folder / "logs"):
            if self.account:  # the content belongs to the server already
                os.chown(given, self.account.uid, self.account.gid)

        java = readable(java_home(), self.account, folder / f"java-{java_version()}")
        heap = self.settings.elasticsearch.heap
        launch = Launch(
            command=[str(tree / "bin" / "elasticsearch")],
            environment={
                "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                "LANG": "C.UTF-8",
                "HOME": str(temporary),
                "ES_JAVA_HOME": str(java),
                "ES_PATH_CONF": str(config),
                "ES_TMPDIR": str(temporary),
                "ES_JAVA_OPTS": f"-Xms{heap} -Xmx{heap}",
            },
            folder=folder,
            log=self.settings.home / "logs" / "elasticsearch.log",
            account=self.account,
            lock=lock,
        )
        tool = str(tree / "bin" / "elasticsearch-keystore")
        if (config / "elasticsearch.keystore").is_file() and not has_admin(config):
            _forget_password(tool, launch)
        secrets = (certificates.secret_file(file) for file in (self.password_file, self.reader_file, self.page_file))
        write_users(config, *secrets)
        held = Certificates.of(self.settings.home) if self.secure else None
        if held is not None and not _same(held.keystore, config / KEYSTORE):
            run([tool, "add", "--stdin", "--force", KEYSTORE_SETTING], launch, stdin=f"{held.password}\n")
            # the copy comes last: it marks that the keystore has its password
            shutil.copy2(held.keystore, config / KEYSTORE)
        give(config, self.account)
        return launch

    def _write_config(self, tree: Path, config: Path, values: dict[str, str]) -> None:
        for shipped in (tree / "config").iterdir():
            if shipped.is_file() and not (config / shipped.name).exists():
                shutil.copyfile(shipped, config / shipped.name)
        options = (tree / "config" / "jvm.options").read_text("utf-8").splitlines()
        used = [line for line in options if not any(word in line for word in UNWANTED_JVM_OPTIONS)]
        (config / "jvm.options").write_text("\n".join(used) + "\n", "utf-8")
        (config / "log4j2.properties").write_text(LOG4J, "utf-8")
        lines = (f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
        (config / "elasticsearch.yml").write_text("\n".join(lines) + "\n", "utf-8")

    def complete_users(self, port: int) -> None:
        """Add the page's user to a running server that a former version started, and wait until it is accepted."""
        if self.page_file.is_file():
            return
        from connectors.elasticsearch.admin import is_ready  # noqa: PLC0415 - loads the client

        config = self.folder / "config"
        # the reader's role of a former version lacks the newest indices
        write_limited_user(config, READER, certificates.secret_file(self.reader_file))
        write_limited_user(config, PAGE, certificates.secret_file(self.page_file))
        give(config, self.account)
        end_s = time.monotonic() + USER_TIMEOUT_S
        while not is_ready(self.endpoint(port, PAGE)) and time.monotonic() < end_s:
            time.sleep(0.5)

    def endpoint(self, port: int, username: str = ADMIN) -> ElasticEndpoint:
        """Return address and credentials for clients.

        Args:
            port: HTTP port of the server.
            username: user of the server: ADMIN, READER or PAGE. A server that a former version started has no PAGE;
                READER is returned instead.

        Raises:
            ShopstreamError: the password file is missing or not readable.
        """
        if username == PAGE and not self.page_file.is_file():
            username = READER
        files = {ADMIN: self.password_file, READER: self.reader_file, PAGE: self.page_file}
        password_file = files[username]
        try:
            password = certificates.read_secret(password_file)
        except OSError as error:
            raise ShopstreamError(
                f"The password file {password_file} cannot be read: {error.strerror}.",
                "Run as the user who ran `shopstream up`; if the file is lost, run `shopstream down` and "
                "`shopstream up`: a new password is made and the data stays.",
            ) from error
        options = dict(self.settings.elasticsearch.options)
        if not self.secure:
            return ElasticEndpoint(self.address(port), username, password, options)
        trusted = {"ca_certs": str(Certificates.of(self.settings.home).authority)}
        return ElasticEndpoint(self.address(port), username, password, {**trusted, **options})

    def address(self, port: int) -> str:
        """Return the URL of the server."""
        return f"{'https' if self.secure else 'http'}://{ports.LOOPBACK}:{port}"

    def is_healthy(self, port: int) -> bool:
        """Return whether the node accepts the password and has all of its shards."""
        from connectors.elasticsearch.admin import is_ready  # noqa: PLC0415 - loads the client

        return ports.accepts(port) and is_ready(self.endpoint(port))


def _forget_password(tool: str, launch: Launch) -> None:
    """Remove the password from the keystore of a data folder of format 1."""
    try:
        run([tool, "remove", "bootstrap.password"], launch)
    except ShopstreamError as error:
        if "does not exist" not in error.message:
            raise


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(one, other, shallow=False)
