"""Reads schemas from a registry with the interface of Confluent's Schema Registry, and stores them for ever.

A schema never changes, so an id is requested once. A registry that does not answer is waited for, because a message
that cannot be decoded now is not a wrong message. An id that the registry does not know is an answer.

Needs the extra `registry`.
"""

from __future__ import annotations

import ssl
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

import httpx2
import structlog
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from connectors.endpoints import RegistryEndpoint
from connectors.messages.schema_ids import SchemaId
from features.errors import ShopstreamError

log = structlog.get_logger("registry")

PAUSE_MIN_S: Final = 0.5
PAUSE_MAX_S: Final = 30.0
TIMEOUT_S: Final = 10
UNKNOWN_S: Final = 30.0
"""How long an unknown id is not requested again: a registry may learn it, and a topic may be full of it."""
_UNKNOWN_MAX: Final = 10_000
_NOT_THERE: Final = 404
_FORBIDDEN: Final = (401, 403)
_AWAY: Final = (408, 429, 500, 502, 503, 504)
_UNKNOWN_CODES: Final = range(40_400, 40_500)
"""Error codes in the answer of a registry that does not know a schema. Other servers have none."""
_PROTOBUF: Final = "PROTOBUF"
_JSON: Final = "JSON"

Answer = TypeVar("Answer")


class UnusableSchemaError(Exception):
    """Schema that cannot be compiled. The text is the reason."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Schema that another one imports: the name in the import, and the schema."""

    name: str
    schema: RegisteredSchema


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """Schema of a registry.

    Attributes:
        kind: `AVRO`, `JSON` or `PROTOBUF`.
        text: schema. Of Protobuf its descriptor as base64, or what the registry gives instead.
        references: schemas that it imports.
    """

    kind: str
    text: str
    references: tuple[Reference, ...] = ()


def confluent_client(endpoint: RegistryEndpoint) -> SchemaRegistryClient:
    """Return a client of confluent-kafka that does not repeat requests.

    Raises:
        ShopstreamError: the file of the certificate authority cannot be used.
    """
    conf: dict[str, Any] = {"url": endpoint.url, "max.retries": 0, "timeout": TIMEOUT_S}
    if endpoint.username is not None:
        conf["basic.auth.user.info"] = f"{endpoint.username}:{endpoint.password or ''}"
    if endpoint.ca_certs is not None:
        conf["ssl.ca.location"] = endpoint.ca_certs
    try:
        return SchemaRegistryClient(conf)
    except OSError as error:  # of ssl, too
        raise ShopstreamError(
            f"The certificate authority {endpoint.ca_certs} cannot be used: {error.strerror or error}.",
            f"Correct registries.{endpoint.name}.ca_certs.",
        ) from error


class SchemaRegistry:
    """Client of a schema registry.

    Args:
        endpoint: address and credentials.
        wait: called with seconds between two attempts. It may raise to give up, or serve a Kafka consumer meanwhile.
        clock: monotonic seconds.
        connect: endpoint -> client of confluent-kafka. It is called once for each form of schemas.

    Attributes:
        name: name of the registry in the settings.
        last_error: why the registry does not answer now; None if it does.
        waited_s: seconds of waiting, in total.
        requests: requests, including repeated ones.

    Raises:
        ShopstreamError: the file of the certificate authority cannot be used.
    """

    def __init__(
        self,
        endpoint: RegistryEndpoint,
        *,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        connect: Callable[[RegistryEndpoint], Any] = confluent_client,
    ) -> None:
        self.name = endpoint.name
        self.last_error: str | None = None
        self.waited_s = 0.0
        self.requests = 0
        self._url = endpoint.url
        self._wait = wait
        self._clock = clock
        # The library stores a schema by its id whatever the form is, so that each form has a client.
        self._client = connect(endpoint)
        self._serialized = connect(endpoint)
        self._schemas: dict[SchemaId, RegisteredSchema] = {}
        self._unknown: dict[SchemaId, float] = {}
        self._is_registry = False

    def schema(self, schema_id: SchemaId, kind: str) -> RegisteredSchema | None:
        """Return a schema, or None if the registry does not know it.

        Args:
            schema_id: number or GUID.
            kind: kind that is needed. A schema of another kind has its text alone; others have all that they import.

        Raises:
            ShopstreamError: the registry refuses the client, or the address is not one of a registry.
            UnusableSchemaError: the registry does not know a schema that it imports.
        """
        stored = self._schemas.get(schema_id)
        if stored is not None:
            return stored
        if self._clock() - self._unknown.get(schema_id, -UNKNOWN_S) < UNKNOWN_S:
            return None
        answer = self._ask(lambda: _by_id(self._client, schema_id))
        if answer is None:
            if len(self._unknown) >= _UNKNOWN_MAX:
                self._unknown.clear()
            self._unknown[schema_id] = self._clock()
            return None
        schema = self._complete(answer, kind, lambda: _by_id(self._serialized, schema_id, "serialized"))
        self._schemas[schema_id] = schema
        return schema

    def _complete(self, answer: Any, needed: str, serialized: Callable[[], Any]) -> RegisteredSchema:
        """Return the schema of an answer. Protobuf is requested as a descriptor, unless a writer registered one."""
        kind, text = answer.schema_type, answer.schema_str
        if not isinstance(kind, str) or not isinstance(text, str):
            self._refuse_address(TypeError("an answer has no schema"))
        if kind != needed or kind == _JSON:  # values are not validated, so nothing is imported
            return RegisteredSchema(kind, text)
        if kind == _PROTOBUF and any(character in text for character in "{;"):
            given = self._ask(serialized)
            text = text if given is None else given.schema_str
        references = (
            Reference(one.name, self._version(one.subject, one.version, kind)) for one in answer.references or ()
        )
        return RegisteredSchema(kind, text, tuple(references))

    def _version(self, subject: str, version: int, kind: str) -> RegisteredSchema:
        registered = self._ask(lambda: self._client.get_version(subject, version, deleted=True))
        if registered is None:
            raise UnusableSchemaError(f"it imports version {version} of {subject}, which the registry does not know")
        return self._complete(
            registered.schema,
            kind,
            lambda: self._serialized.get_version(subject, version, deleted=True, fmt="serialized").schema,
        )

    # --- requests ---

    def _ask(self, request: Callable[[], Answer], *, probe: bool = False) -> Answer | None:
        """Return an answer of the registry, or None if it does not know what is requested. Waits while it is away.

        Args:
            request: call of the client.
            probe: whether the request shows that the server is a registry.
        """
        pause_s = PAUSE_MIN_S
        while True:
            self.requests += 1
            try:
                answer = request()
            except SchemaRegistryError as error:
                if error.http_status_code == _NOT_THERE:
                    self._check_registry(error, probe=probe)
                    self._note_answer()
                    return None
                reason = self._away(error)
            except httpx2.TransportError as error:
                self._check_certificate(error)
                reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            except (httpx2.InvalidURL, ValueError, TypeError, AttributeError, KeyError) as error:
                self._refuse_address(error)
            else:
                self._note_answer()
                return answer
            if self.last_error != reason or pause_s >= PAUSE_MAX_S:
                log.warning("schema registry is away, waiting", registry=self.name, reason=reason, pause_s=pause_s)
            self.last_error = reason
            self._wait(pause_s)
            self.waited_s += pause_s
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    def _note_answer(self) -> None:
        if self.last_error is not None:
            log.info("schema registry is back", registry=self.name, waited_s=self.waited_s)
        self.last_error = None

    def _away(self, error: SchemaRegistryError) -> str:
        """Return why a registry gives no answer now. Raises ShopstreamError if waiting does not help."""
        if error.http_status_code in _AWAY:
            return str(error)
        if error.http_status_code in _FORBIDDEN:
            raise ShopstreamError(
                f"The schema registry {self.name} refuses the client: {error}.",
                f"Correct registries.{self.name}.username and its password, or the permissions of the user.",
            ) from error
        return self._refuse_address(error)

    def _check_registry(self, error: SchemaRegistryError, *, probe: bool) -> None:
        """Raise ShopstreamError if the server that does not know a schema is no registry."""
        if error.error_code in _UNKNOWN_CODES or self._is_registry:
            return
        if probe:
            self._refuse_address(error)
        self._ask(self._client.get_schema_types, probe=True)
        self._is_registry = True

    def _check_certificate(self, error: BaseException) -> None:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise ShopstreamError(
                    f"The certificate of the schema registry {self.name} is refused: {cause.verify_message}.",
                    f"Set registries.{self.name}.ca_certs to the file of its certificate authority.",
                ) from error
            cause = cause.__cause__ or cause.__context__

    def _refuse_address(self, error: Exception) -> NoReturn:
        raise ShopstreamError(
            f"{self._url} does not answer as a schema registry: {error}.",
            f"Correct registries.{self.name}.url. It includes the path, such as /apis/ccompat/v7.",
        ) from error


def _by_id(client: Any, schema_id: SchemaId, form: str | None = None) -> Any:
    if isinstance(schema_id, uuid.UUID):
        return client.get_schema_by_guid(str(schema_id), fmt=form)
    return client.get_schema(schema_id, fmt=form)
