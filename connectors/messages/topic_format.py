"""Defines `from` of a mapping: how the values of a topic's messages become records."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Envelope = Literal["debezium", "connect", "cloudevents"]
Format = Literal["json", "avro", "json_schema", "protobuf"]
Name = Annotated[str, StringConstraints(min_length=1)]


class TopicFormat(BaseModel):
    """Format of the messages of a topic. An unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    topic: Name
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
            raise ValueError("text_fields have no meaning in rows of a table; remove them")
        if self.format != "json" and self.registry is None:
            raise ValueError(f"{self.format} needs registry, the name of a schema registry in the settings")
        if self.format == "json" and self.registry is not None:
            raise ValueError("json has no schema: write avro, json_schema or protobuf, or remove registry")
        return self
