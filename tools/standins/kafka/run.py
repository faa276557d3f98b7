#!/usr/bin/python3
"""Starts Kafka as the official image does: properties from the variables KAFKA_..., storage formatted once."""

import os
import subprocess
from pathlib import Path

# of the official image: these are not properties
NO_PROPERTIES = {
    "KAFKA_VERSION", "KAFKA_HEAP_OPT", "KAFKA_LOG4J_OPTS", "KAFKA_OPTS", "KAFKA_JMX_OPTS", "KAFKA_GC_LOG_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_LOG4J_ROOT_LOGLEVEL", "KAFKA_LOG4J_LOGGERS", "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_JMX_HOSTNAME",
}  # fmt: skip


def name_of(variable: str) -> str:
    """`KAFKA_LOG_DIRS` is `log.dirs`; two underscores are one, three a hyphen."""
    name = variable.removeprefix("KAFKA_").lower()
    return name.replace("_", ".").replace("...", "-").replace("..", "_")


properties = {
    name_of(name): value
    for name, value in os.environ.items()
    if name.startswith("KAFKA_") and name not in NO_PROPERTIES
}
config = Path("/opt/kafka/config/server.properties")
config.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
java = ["/opt/java/bin/java", "-cp", "/opt/kafka/libs/*", "-Dlog4j2.configurationFile=/opt/kafka/log4j2.properties"]
if not (Path(properties["log.dirs"]) / "meta.properties").exists():
    identity = f"--cluster-id={os.environ['CLUSTER_ID']}"
    subprocess.run([*java, "kafka.tools.StorageTool", "format", identity, f"--config={config}"], check=True)
heap = os.environ.get("KAFKA_HEAP_OPTS", "").split()
os.execv(java[0], [*java, *heap, "-XX:+ExitOnOutOfMemoryError", "kafka.Kafka", str(config)])  # noqa: S606 - the program itself, no shell
