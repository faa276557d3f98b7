"""docker-compose.yml as compose reads it: variables put in, anchors resolved, every key known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?:(:-|:\?)([^}]*))?\})")
Duration = Annotated[str, Field(pattern=r"^[0-9]+(s|m)$")]
Size = Annotated[str, Field(pattern=r"^[0-9]+[mg]$")]


class Part(BaseModel):
    """A key that the specification does not have, or that we do not use, is a mistake."""

    model_config = ConfigDict(extra="forbid")


class Check(Part):
    test: list[str] | None = None
    interval: Duration | None = None
    timeout: Duration | None = None
    retries: int | None = None
    start_period: Duration | None = None
    disable: bool = False


class Waits(Part):
    condition: Literal["service_healthy", "service_completed_successfully"]


class Files(Part):
    soft: int
    hard: int


class Limits(Part):
    nofile: Files


class Service(Part):
    image: str
    build: str | None = None
    entrypoint: list[str] | None = None
    user: str | None = None
    network_mode: Literal["none"] | None = None
    networks: list[str] = []
    pull_policy: Literal["never", "missing"] | None = None
    command: list[str] | None = None
    environment: dict[str, str | int] = {}
    ports: list[str] = []
    volumes: list[str] = []
    tmpfs: list[str] = []
    depends_on: dict[str, Waits] = {}
    healthcheck: Check
    read_only: bool = False
    init: bool = False
    cap_drop: list[str] = []
    cap_add: list[str] = []
    pids_limit: int
    ulimits: Limits | None = None
    security_opt: list[str] = []
    mem_limit: Size
    memswap_limit: Size
    restart: Annotated[str, Field(pattern=r"^(unless-stopped|on-failure:[1-9][0-9]?)$")]
    stop_grace_period: Duration
    logging: dict[str, Any]

    @property
    def ours(self) -> bool:
        return self.image.startswith("shopstream:")

    @property
    def memory_mib(self) -> int:
        number, unit = int(self.mem_limit[:-1]), self.mem_limit[-1]
        return number * {"m": 1, "g": 1024}[unit]

    @property
    def mounts(self) -> dict[str, str]:
        """Volume, or the folder of an anonymous one -> where it is mounted."""
        parts = [one.split(":") for one in self.volumes]
        return {part[0]: part[1] if len(part) > 1 else part[0] for part in parts}

    @property
    def read_only_mounts(self) -> set[str]:
        """Volumes that the service may not write."""
        return {one.split(":")[0] for one in self.volumes if one.endswith(":ro")}


class Network(Part):
    internal: bool = False


class Compose(Part):
    services: dict[str, Service]
    networks: dict[str, Network | None]
    volumes: dict[str, None]


class MissingError(Exception):
    """A variable that has to be given is not."""


def interpolated(text: str, given: Mapping[str, str]) -> str:
    """The text with variables put in; raises MissingError as compose refuses."""

    def value(found: re.Match[str]) -> str:
        name, kind, other = found.groups()
        if name is None:
            return "$"
        if given.get(name):
            return given[name]
        if kind == ":-":
            return str(other)
        raise MissingError(f"{name}: {other}")

    return VARIABLE.sub(value, text)


def loaded(given: Mapping[str, str]) -> Compose:
    result = yaml.safe_load(interpolated(FILE.read_text("utf-8"), given))
    return Compose.model_validate({name: part for name, part in result.items() if not name.startswith("x-")})
