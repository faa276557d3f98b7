"""Defines `from` of a mapping: how the values of a topic's messages become records."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Envelope = Literal["debezium", "connect", "cloudevents"]
Name = Annotated[str, StringConstraints(min_length=1)]


class TopicFormat(BaseModel):
    """Format of the messages of a topic. An unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    topic: Name
    """Full name of the topic."""
    format: Literal["json"] = "json"
    """Format of the values."""
    envelope: Envelope | None = None
    """Frame around the record: a change of Debezium, `schema` and `payload` of Kafka Connect, or a CloudEvent."""
    text_fields: tuple[Name, ...] = Field(default=(), strict=False)
    """Paths of texts that hold JSON. A path of the mapping may lead into them."""

    @model_validator(mode="after")
    def _consistent(self) -> TopicFormat:
        if self.text_fields and self.envelope == "debezium":
            raise ValueError("text_fields have no meaning in rows of a table; remove them")
        return self
