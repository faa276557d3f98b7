"""The servers listen on the loopback interface and nowhere else, as the kernel sees it."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path

import psutil
import pytest

from shopstream.embedded import state_file

LISTEN = "0A"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net")


def sockets(pid: int) -> set[str]:
    """Inodes of the sockets that a process holds."""
    links = (link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink())
    return {name[len("socket:[") : -1] for name in links if name.startswith("socket:[")}


def listening() -> list[tuple[str, ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """Inode, address and port of every listening socket."""
    entries = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == LISTEN:
                location, port = words[1].split(":")
                entries.append((words[9], address(location), int(port, 16)))
    return entries


def address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel prints it: words of 32 bits in the machine's own order of bytes."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    result = ipaddress.ip_address(b"".join(words))
    return result.ipv4_mapped or result if isinstance(result, ipaddress.IPv6Address) else result


def test_addresses_are_parsed_as_the_kernel_prints_them():
    assert str(address("0100007F")) == "127.0.0.1"
    assert str(address("00000000")) == "0.0.0.0"
    assert str(address("0000000000000000FFFF00000100007F")) == "127.0.0.1"
    assert str(address("00000000000000000000000001000000")) == "::1"
    assert not address("00000000000000000000000000000000").is_loopback


@pytest.mark.parametrize("name", ["kafka", "elasticsearch"])
def test_servers_listen_on_loopback_only(secure, secure_settings, name):
    entry = getattr(state_file.read(secure_settings.home), name)
    main = psutil.Process(entry.identity.pid)
    held = set().union(*(sockets(one.pid) for one in [main, *main.children(recursive=True)]))
    entries = {(str(location), port) for inode, location, port in listening() if inode in held}
    assert {port for _, port in entries} >= {entry.port, entry.inner_port}
    assert {location for location, _ in entries if not ipaddress.ip_address(location).is_loopback} == set()
