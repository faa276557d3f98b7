"""The command line as a process of its own, against the session's servers, with a data folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys

MAIN = "from shopstream.cli.app import main; main()"


def environment(home, endpoints=None):
    """Variables that name the data folder, and the servers as existing ones."""
    result = {name: value for name, value in os.environ.items() if not name.startswith("SHOPSTREAM_")}
    result["SHOPSTREAM_HOME"] = str(home)
    if endpoints is not None:
        result["SHOPSTREAM_KAFKA__BOOTSTRAP_SERVERS"] = endpoints.kafka.bootstrap_servers
        result["SHOPSTREAM_ELASTICSEARCH__URL"] = endpoints.elasticsearch.url
        result["SHOPSTREAM_ELASTICSEARCH__USERNAME"] = endpoints.elasticsearch.username
        result["SHOPSTREAM_ELASTICSEARCH__PASSWORD"] = endpoints.elasticsearch.password
    return result


def start(arguments, variables, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([sys.executable, "-c", MAIN, *map(str, arguments)], env=variables, text=True, **options)


def call(arguments, variables, timeout_s=400):
    process = start(arguments, variables)
    try:
        out, output = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    return subprocess.CompletedProcess(arguments, process.returncode, out, output)
