"""Defines `from` of a mapping: how the values of a topic's messages become records."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from connectors.formats.strict_yaml import PartError

Envelope = Literal["debezium", "connect", "cloudevents"]
Format = Literal["json", "avro", "json_schema", "protobuf"]
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""Names of topics that Kafka allows."""
Name = Annotated[str, StringConstraints(min_length=1)]


def _topic_name(name: str) -> str:
    if not _TOPIC.fullmatch(name) or name in (".", ".."):
        raise ValueError(f"{name!r} is no name of a topic: letters, digits, points, _ and -, at most 249 characters")
    return name


class TopicFormat(BaseModel):
    """Format of the messages of a topic. An unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    topic: Annotated[Name, AfterValidator(_topic_name)]
    """Full name of the topic."""
    format: Format = "json"
    """Format of the values. All but `json` have a schema in a registry."""
    registry: Name | None = None
    """Name of the schema registry in the settings, for all formats but `json`."""
    envelope: Envelope | None = None
    """Frame around the record: a change of Debezium, `schema` and `payload` of Kafka Connect, or a CloudEvent."""
    text_fields: tuple[Name, ...] = Field(default=(), strict=False)
    """Paths of texts that hold JSON. A path of the mapping may lead into them."""

    @model_validator(mode="after")
    def _consistent(self) -> TopicFormat:
        if self.text_fields and self.envelope == "debezium":
            raise PartError("text_fields have no meaning in rows of a table; remove them", ("text_fields",))
        if self.format != "json" and self.registry is None:
            message = f"{self.format} needs registry, the name of a schema registry in the settings"
            raise PartError(message, ("format",))
        if self.format == "json" and self.registry is not None:
            message = "json has no schema: write avro, json_schema or protobuf, or remove registry"
            raise PartError(message, ("registry",))
        return self
