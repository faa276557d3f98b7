#!/usr/bin/python3
"""`--bootstrap-server HOST:PORT`: asks a broker for the versions of its API, as Kafka's tool of this name does."""

import socket
import struct
import sys

host, _, port = sys.argv[sys.argv.index("--bootstrap-server") + 1].rpartition(":")
request = struct.pack(">hhih", 18, 0, 1, -1)
with socket.create_connection((host, int(port)), 10) as connection:
    connection.settimeout(10)
    connection.sendall(struct.pack(">i", len(request)) + request)
    answer = b""
    while len(answer) < 10:
        part = connection.recv(4096)
        if not part:
            sys.exit("the broker hung up")
        answer += part
size, correlation, error = struct.unpack(">iih", answer[:10])
sys.exit(0 if (correlation, error) == (1, 0) else f"error {error}")
