"""The health check of Kafka in docker-compose.yml, word for word, asked of a real broker and of what is none."""

from __future__ import annotations

import socket
import subprocess
import threading

import pytest

PORT = "19092"
ANSWERS = {
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an error": b"\x00\x00\x01\x2a\x00\x00\x00\x01\x00\x23",
    "half an answer": b"\x00\x00\x01\x2a\x00\x00",
    "silence": b"",
}


@pytest.fixture
def exit_code_at(composed):
    """The check's exit code at a port of this machine."""

    def code(port):
        kind, *words = composed.services["kafka"].healthcheck.test
        assert kind == "CMD"
        assert PORT in words[-1]
        words[-1] = words[-1].replace(PORT, str(port))
        return subprocess.run(words, capture_output=True, check=False, timeout=30).returncode

    return code


@pytest.mark.servers
def test_running_broker_is_healthy(exit_code_at, servers):
    assert exit_code_at(servers.kafka.bootstrap_servers.split(",")[0].rpartition(":")[2]) == 0


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_server_that_is_not_a_broker_is_unhealthy(exit_code_at, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def respond():
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=respond, daemon=True)
        thread.start()
        assert exit_code_at(server.getsockname()[1]) != 0
        thread.join(5)


def test_closed_port_is_unhealthy(exit_code_at):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert exit_code_at(port) != 0
