"""Loads the settings: command flags, then `SHOPSTREAM_...` variables, then a TOML file, then defaults.

Every setting is defined once, with its type, default and meaning. A section is a `Section` subclass and one field of
`Settings`.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from connectors.endpoints import ElasticEndpoint, KafkaEndpoint, RegistryEndpoint, without_login
from connectors.formats.money_format import MoneyFormat, check_currency, check_locale, money_format
from features.errors import ShopstreamError, UsageError
from features.hold_out import DEFAULT_SEED, HoldOut
from features.schema import DEFAULT_RUN, WeekStart, check_run
from training import options as options_module

ENV_PREFIX: Final = "SHOPSTREAM_"
CONFIG_VARIABLE: Final = "SHOPSTREAM_CONFIG"
CONFIG_FILE: Final = "shopstream.toml"
RUNS_CODE: Final = frozenset(
    {"plugin.library.paths", "ssl.engine.location", "ssl.providers", "sasl.kerberos.kinit.cmd"}
)
"""Properties that make librdkafka load a library or run a program. Every command reads the settings file of the working
folder, so that file must not set them."""
MAIL_ADDRESS: Final = re.compile(
    r'(?:([^<>"@,;\r\n]*)<([^\s<>"@,;]+@[^\s<>"@,;]+)>|([^\s<>"@,;]+@[^\s<>"@,;]+))', re.ASCII
)
"""Address of one e-mail: a name and an address in angle brackets, or an address alone."""
_NOT_SHOWN: Final = frozenset({"password", "api_key", "properties", "options", "url", "maven_url", "secret"})
"""Settings whose value may hold a secret; their values are left out of messages."""


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _property_value(value: object) -> object:
    """Convert the numbers and booleans of TOML to the strings that librdkafka takes."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _run_name(run: str) -> str:
    try:
        return check_run(run)
    except UsageError as error:
        raise ValueError(str(error)) from error  # pydantic adds the setting's name


def _mail_address(text: str) -> str:
    if MAIL_ADDRESS.fullmatch(text) is None:
        raise ValueError("not one address of e-mail, such as Shop <shop@example.org>")
    return text


def _zone_name(name: str) -> str:
    from features.local_times import zone_name  # noqa: PLC0415 - loads Polars, which most commands do without

    return zone_name(name)


Location = Annotated[Path, AfterValidator(_absolute)]
Port = Annotated[int, Field(ge=1, le=65535)]
Heap = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*[kmgKMG]$")]
Property = Annotated[str, BeforeValidator(_property_value)]
Days = Annotated[int, Field(ge=1, le=options_module.DAYS_MAX)]
Cost = Annotated[float, Field(ge=0)]
Saved = Annotated[float, Field(gt=0, le=1)]

_HORIZON: Final = options_module.Horizon()
_COSTS: Final = options_module.Costs()
RunName = Annotated[str, AfterValidator(_run_name)]


class Section(BaseModel):
    """A section of the settings: immutable, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(Section):
    """Connection to Kafka, or configuration of the embedded one."""

    bootstrap_servers: str | None = None
    """`host:port,...` of an external Kafka; None runs the embedded one."""
    properties: dict[str, Property] = Field(default_factory=dict, repr=False)
    """Properties of librdkafka for every client (security.protocol, sasl.username ...)."""
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Partitions of the source topics of a new run."""
    port: Port = 9092
    """Preferred port of the embedded Kafka; if it is in use, another one is chosen."""
    heap: Heap = "512m"
    """Memory of the embedded Kafka's Java heap."""


class ElasticsearchSettings(Section):
    """Connection to Elasticsearch, or configuration of the embedded one."""

    url: str | None = None
    """`http(s)://host:port` of an external Elasticsearch; None runs the embedded one."""
    username: str | None = None
    """User of an external Elasticsearch; `elastic` if only a password is given."""
    password: SecretStr | None = None
    """Password of the user."""
    password_file: Location | None = None
    """File with the password, instead of `password`."""
    api_key: SecretStr | None = None
    """API key, instead of user name and password."""
    ca_certs: Location | None = None
    """File of the certificate authority, for TLS."""
    options: dict[str, Any] = Field(default_factory=dict, repr=False)
    """Keyword arguments of the Elasticsearch client (request_timeout, verify_certs ...)."""
    port: Port = 9200
    """Preferred port of the embedded Elasticsearch; if it is in use, another one is chosen."""
    heap: Heap = "1g"
    """Memory of the embedded Elasticsearch's Java heap."""
    run_as: str | None = None
    """User name or numeric uid of the embedded server if root starts it; None: a separate uid."""

    @model_validator(mode="after")
    def _one_credential(self) -> ElasticsearchSettings:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give either password or password_file, not both")
        if self.api_key is not None and (self.username or self.password or self.password_file):
            raise ValueError("give either api_key or username with a password, not both")
        if self.url is None and (self.password is not None or self.password_file or self.api_key):
            raise ValueError(
                "credentials need url, the address of an external server (the embedded server creates its own)"
            )
        return self


class RegistrySettings(Section):
    """Connection to a schema registry, which mappings of topics name."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://")] = Field(repr=False)
    """`http(s)://host:port/path` of a registry with the interface of Confluent's Schema Registry."""
    username: str | None = None
    """User of the registry."""
    password: SecretStr | None = None
    """Password of the user."""
    password_file: Location | None = None
    """File with the password, instead of `password`. Only its owner may read it (mode 600)."""
    ca_certs: Location | None = None
    """File of the certificate authority, for TLS."""

    @model_validator(mode="after")
    def _one_credential(self) -> RegistrySettings:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give either password or password_file, not both")
        if self.username is None and (self.password is not None or self.password_file is not None):
            raise ValueError("a password needs username")
        return self


class ShopSettings(Section):
    """The shop's calendar and money: the days, weeks and months of figures, and the form of their amounts."""

    time_zone: Annotated[str, AfterValidator(_zone_name)] | None = None
    """IANA time zone of days, weeks and months, such as Europe/Berlin; None: that of the run or archive, else UTC."""
    week_start: WeekStart | None = None
    """First day of the week, such as sunday; None: that of the run, else monday."""
    currency: Annotated[str, AfterValidator(check_currency)] | None = None
    """Currency of all amounts: an ISO 4217 code with at most 2 decimals, such as EUR; None: no currency is shown."""
    locale: Annotated[str, AfterValidator(check_locale)] | None = None
    """Locale in which amounts are written, such as de-DE; None: English."""
    special_days: Location | None = None
    """YAML file of the shop's holidays, campaigns and closed days, for forecasts; None: none."""

    @property
    def money(self) -> MoneyFormat:
        """How amounts are rounded and written."""
        return money_format(self.currency, self.locale)


class HoldOutSettings(Section):
    """Hold-out group: customers whom nobody contacts, to measure the effect of contacts."""

    share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of the customers in the group, such as 0.1; 0: no group."""
    seed: Annotated[str, StringConstraints(min_length=1, max_length=200)] = DEFAULT_SEED
    """Text that draws the group; another one draws another group."""

    def to_rule(self) -> HoldOut:
        """Convert to the rule of the group."""
        return HoldOut(self.share, self.seed)


class MetricsSettings(Section):
    """Metrics endpoint and health thresholds."""

    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Port of `/metrics`, `/healthz` and `/readyz` while consuming; 0 uses a free port, None opens none."""
    host: str = "127.0.0.1"
    """Address of the endpoint; its pages need no password, so open it to trusted networks only."""
    report_age_max_s: Annotated[float, Field(gt=0)] = 60
    """Maximum age of the last report of a healthy worker, seconds."""
    uncheckpointed_max_s: Annotated[float, Field(gt=0)] = 120
    """Maximum age of an uncheckpointed change of a ready worker, seconds."""
    documents_every_s: Annotated[float, Field(ge=1)] = 5
    """Interval between a worker's documents in the index `pipeline`, seconds."""
    retention_days: Annotated[float, Field(gt=0)] = 7
    """Retention of the documents in the index `pipeline`, days."""


class SmtpSettings(Section):
    """SMTP server of the notifications by e-mail."""

    host: Annotated[str, StringConstraints(min_length=1)]
    """Host name of the server."""
    port: Port = 587
    """Port: 587 for starttls, 465 for tls."""
    encryption: Literal["starttls", "tls", "none"] = "starttls"
    """Encryption: starttls, tls from the first byte on, or none (a server of this machine)."""
    sender: Annotated[str, AfterValidator(_mail_address)]
    """Address in From, with or without a name: Shop <shop@example.org>."""
    username: str | None = None
    """User of the server; None: no login."""
    password: SecretStr | None = None
    """Password of the user."""
    password_file: Location | None = None
    """File with the password, instead of `password`. Only its owner may read it (mode 600)."""
    ca_certs: Location | None = None
    """File of the certificate authority, for TLS."""

    @model_validator(mode="after")
    def _one_credential(self) -> SmtpSettings:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give either password or password_file, not both")
        has_password = self.password is not None or self.password_file is not None
        if has_password != (self.username is not None):
            raise ValueError("username and password need each other")
        if has_password and self.encryption == "none":
            raise ValueError("a password needs an encryption: starttls or tls")
        return self


class TargetSettings(Section):
    """A receiver of churn alerts and digests."""

    kind: Literal["webhook", "slack", "teams", "email"]
    """Kind of the target: a webhook (JSON), Slack, a workflow of Microsoft Teams, or e-mail."""
    url: SecretStr | None = None
    """URL of the webhook. It is a secret: set it by an environment variable, or use `url_file`."""
    url_file: Location | None = None
    """File with the address, instead of `url`. Only its owner may read it (mode 600)."""
    secret: SecretStr | None = None
    """Secret that signs the requests of a webhook: `whsec_` and base64 of at least 24 bytes."""
    secret_file: Location | None = None
    """File with the secret, instead of `secret`. Only its owner may read it (mode 600)."""
    ca_certs: Location | None = None
    """File of the certificate authority of the webhook."""
    to: Annotated[str, AfterValidator(_mail_address)] | None = None
    """E-mail address of the receiver. For several people, use several targets or the address of a group."""
    minimum_risk: Literal["medium", "high", "critical"] = "high"
    """Lowest churn risk whose alerts are sent."""
    alerts: bool = True
    """Whether the target gets alerts."""
    digest: bool = True
    """Whether the target gets digests."""

    @model_validator(mode="after")
    def _fitting(self) -> TargetSettings:
        urls = (self.url is not None) + (self.url_file is not None)
        if self.kind == "email" and (urls or self.to is None):
            raise ValueError("a target of kind email needs `to`, and no url")
        if self.kind != "email" and (urls != 1 or self.to is not None):
            raise ValueError(f"a target of kind {self.kind} needs either url or url_file, and no `to`")
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("give either secret or secret_file, not both")
        if self.kind != "webhook" and (self.secret is not None or self.secret_file is not None):
            raise ValueError("only requests of kind webhook are signed")
        return self


class NotifySettings(Section):
    """Receivers of alerts and digests, and the links in their messages."""

    page_url: Annotated[str, StringConstraints(pattern=r"^https?://")] | None = None
    """Address of the live page, for links to a customer's story; None: no links."""
    give_up_after_s: Annotated[float, Field(gt=0)] = 86_400
    """Time of unsuccessful attempts after which a notification is set aside, seconds."""
    smtp: SmtpSettings | None = None
    targets: dict[str, TargetSettings] = Field(default_factory=dict)


class CostSettings(Section):
    """Costs and effects of the effort for each band of churn risk; a band begins where its effort pays off."""

    medium_cost: Cost = _COSTS.medium.cost
    """Cost of the effort for a customer at medium risk, as a share of the value of a retained customer."""
    medium_saved: Saved = _COSTS.medium.saved
    """Share of the leaving customers that the effort at medium risk retains."""
    high_cost: Cost = _COSTS.high.cost
    """Cost of the effort for a customer at high risk, as the same share."""
    high_saved: Saved = _COSTS.high.saved
    """Share of the leaving customers that the effort at high risk retains."""
    critical_cost: Cost = _COSTS.critical.cost
    """Cost of the effort for a customer at critical risk, as the same share."""
    critical_saved: Saved = _COSTS.critical.saved
    """Share of the leaving customers that the effort at critical risk retains."""

    def to_costs(self) -> options_module.Costs:
        """Convert to the options of a training."""
        return options_module.Costs(
            options_module.Effort(self.medium_cost, self.medium_saved),
            options_module.Effort(self.high_cost, self.high_saved),
            options_module.Effort(self.critical_cost, self.critical_saved),
        )


class TrainingSettings(Section):
    """Cut-offs of a training set, and the costs that determine the risk bands."""

    horizon_days: Days = _HORIZON.horizon_days
    """Days after the cut-off without an order that count as churn."""
    history_days: Days = _HORIZON.history_days
    """Minimum days between the first record and the first cut-off."""
    spacing_days: Days = _HORIZON.spacing_days
    """Days between two cut-offs."""
    cutoffs_max: Days = _HORIZON.cutoffs_max
    """Maximum number of cut-offs; the latest ones are used."""
    costs: CostSettings = CostSettings()

    def to_horizon(
        self,
        horizon_days: int | None = None,
        history_days: int | None = None,
        spacing_days: int | None = None,
        cutoffs_max: int | None = None,
    ) -> options_module.Horizon:
        """Convert to the options of a training; given arguments take precedence."""
        given = (horizon_days, history_days, spacing_days, cutoffs_max)
        defaults = (self.horizon_days, self.history_days, self.spacing_days, self.cutoffs_max)
        return options_module.Horizon(
            *(default if value is None else value for value, default in zip(given, defaults, strict=True))
        )


class Settings(BaseSettings):
    """Every setting of Shopstream. Built by `load_settings`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    home: Location = Path(".shopstream")
    """Data folder: state, logs, secrets, data of the embedded servers."""
    cache: Location = Path(platformdirs.user_cache_dir("shopstream"))
    """Downloads of the embedded servers, shared by all data folders."""
    run: RunName = DEFAULT_RUN
    """Prefix of topics, groups and indices."""
    secure: bool | None = None
    """Embedded servers use TLS and Kafka a password (SCRAM); None: as in the data folder, off in a new one."""
    maven_url: str | None = None
    """Mirror for downloads of the embedded servers; None: the central repository."""
    start_timeout_s: Annotated[float, Field(gt=0)] = 180
    """Maximum wait for a server to become healthy."""
    stop_timeout_s: Annotated[float, Field(gt=0)] = 30
    """Maximum wait for a server to stop before it is killed."""
    guest_salt: SecretStr | None = None
    """Secret from which the ids of guests are computed (mappings with `guest`). Another secret changes the ids."""
    guest_salt_file: Location | None = None
    """File with the secret, instead of `guest_salt`."""
    kafka: KafkaSettings = KafkaSettings()
    elasticsearch: ElasticsearchSettings = ElasticsearchSettings()
    registries: dict[str, RegistrySettings] = Field(default_factory=dict)
    shop: ShopSettings = ShopSettings()
    hold_out: HoldOutSettings = HoldOutSettings()
    metrics: MetricsSettings = MetricsSettings()
    notify: NotifySettings = NotifySettings()
    training: TrainingSettings = TrainingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources by precedence: flags, the environment, the TOML file."""
        path = config_path(os.environ)
        if path is None:
            return (init_settings, env_settings)
        file = TomlConfigSettingsSource(settings_cls, toml_file=path)
        if not os.environ.get(CONFIG_VARIABLE):
            _refuse_code(path, file.toml_data)
        return (init_settings, env_settings, file)


def guest_salt(settings: Settings) -> bytes:
    """Return the secret of which ids of guests are made; empty without one.

    Raises:
        ShopstreamError: its file cannot be read.
        UsageError: it is given twice.
    """
    if settings.guest_salt is not None and settings.guest_salt_file is not None:
        raise UsageError("guest_salt and guest_salt_file are both set.", "Set one of them.")
    if settings.guest_salt is not None:
        return settings.guest_salt.get_secret_value().encode()
    if settings.guest_salt_file is None:
        return b""
    try:
        return settings.guest_salt_file.read_text("utf-8").strip().encode()
    except OSError as error:
        raise ShopstreamError(
            f"The file {settings.guest_salt_file} cannot be read: {error.strerror}.",
            "Correct guest_salt_file (SHOPSTREAM_GUEST_SALT_FILE).",
        ) from error


def _refuse_code(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse settings that run code if the file was found only because of the working folder.

    Raises:
        UsageError: the file holds a property of `RUNS_CODE`.
    """
    kafka = content.get("kafka")
    properties = kafka.get("properties") if isinstance(kafka, dict) else None
    for name in sorted(RUNS_CODE.intersection(properties if isinstance(properties, dict) else ())):
        raise UsageError(
            f"{path.absolute()} sets {name} under kafka.properties. It lets the Kafka client run code, "
            "so a file of the working folder may not set it.",
            f"If you trust the file, select it: {CONFIG_VARIABLE}={shlex.quote(str(path.absolute()))}",
        )


def config_path(environment: Mapping[str, str]) -> Path | None:
    """Return the settings file that counts; None without one. Raises UsageError for a missing named file."""
    named = environment.get(CONFIG_VARIABLE)
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise UsageError(f"{CONFIG_VARIABLE} names {path}, which is not a file.", "Correct or unset the variable.")
        return path
    path = Path(CONFIG_FILE)
    return path if path.is_file() else None


def load_settings(**flags: object) -> Settings:
    """Load the effective settings from flags, environment, TOML file and defaults.

    Args:
        flags: values by field name that take precedence, a section as a dict; None means "not given".

    Raises:
        UsageError: a value or a name is not valid; the message names it.
    """
    _refuse_unknown_variables(os.environ)
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        raise UsageError(_describe(error.errors(include_url=False)), _WHERE) from None
    except ValueError as error:  # malformed TOML, or JSON in a variable of a section
        cause = error.__cause__ or error
        raise UsageError(f"The settings cannot be read: {error} ({type(cause).__name__}).", _WHERE) from None


_WHERE: Final = f"Check the {ENV_PREFIX}... variables (SECTION__NAME inside a section) and {CONFIG_FILE}."


def _describe(errors: list[ErrorDetails]) -> str:
    return " ".join(_describe_one(error) for error in errors)


def _describe_one(error: ErrorDetails) -> str:
    path = [str(part) for part in error["loc"]]
    name = ".".join(path) or "settings"
    variable = ENV_PREFIX + "__".join(path).upper()
    if error["type"] == "extra_forbidden":
        return f"Unknown setting {name}{_closest(path)}."
    got = ""
    if not _NOT_SHOWN.intersection(path) and isinstance(error["input"], str | int | float):
        got = f", got {error['input']!r}"
    reason = error["msg"].removeprefix("Value error, ")
    return f"Setting {name} ({variable}): {reason[0].lower()}{reason[1:]}{got}."


def _closest(path: list[str]) -> str:
    section: Any = Settings
    for part in path[:-1]:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = getattr(section.model_fields.get(part), "annotation", None)
        else:  # sections by name
            section = next(iter(get_args(section)[1:]), None)
    if not (isinstance(section, type) and issubclass(section, BaseModel)):
        return ""
    near = difflib.get_close_matches(path[-1], section.model_fields, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Refuse misspelt variables: pydantic ignores names that it does not define."""
    for variable in environment:
        if not variable.upper().startswith(ENV_PREFIX) or variable.upper() == CONFIG_VARIABLE:
            continue
        name = variable[len(ENV_PREFIX) :].lower().split("__")[0]
        if name not in Settings.model_fields:
            raise UsageError(f"Unknown setting {variable}{_closest([name])}.", _WHERE)


def external_kafka(settings: KafkaSettings) -> KafkaEndpoint | None:
    """Return the Kafka named by the settings; None for the embedded one."""
    if settings.bootstrap_servers is None:
        return None
    return KafkaEndpoint(settings.bootstrap_servers, dict(settings.properties))


def external_elasticsearch(settings: ElasticsearchSettings) -> ElasticEndpoint | None:
    """Return the Elasticsearch named by the settings; None for the embedded one.

    Raises:
        ShopstreamError: the password file cannot be read.
    """
    if settings.url is None:
        return None
    password = settings.password.get_secret_value() if settings.password else None
    if settings.password_file is not None:
        try:
            password = settings.password_file.read_text("utf-8").strip()
        except OSError as error:
            raise ShopstreamError(
                f"The password file {settings.password_file} cannot be read: {error.strerror}.",
                "Correct elasticsearch.password_file (SHOPSTREAM_ELASTICSEARCH__PASSWORD_FILE).",
            ) from error
    options = dict(settings.options)
    if settings.api_key is not None:
        options["api_key"] = settings.api_key.get_secret_value()
    if settings.ca_certs is not None:
        options["ca_certs"] = str(settings.ca_certs)
    url, *in_url = without_login(settings.url)
    password = in_url[1] if password is None else password
    username = settings.username or in_url[0] or ("elastic" if password is not None else None)
    return ElasticEndpoint(url, username, password, options)


def registry_endpoint(settings: Settings, name: str) -> RegistryEndpoint:
    """Return the schema registry that the settings have under a name.

    Raises:
        UsageError: the settings have no registry of this name.
        ShopstreamError: its password file cannot be read, or others can read it.
    """
    registry = settings.registries.get(name)
    if registry is None:
        known = ", ".join(sorted(settings.registries))
        raise UsageError(
            f"The settings have no schema registry {name}" + (f"; they have {known}." if known else "."),
            f"Add [registries.{name}] with `url` to {CONFIG_FILE}, or set {ENV_PREFIX}REGISTRIES__{name.upper()}__URL.",
        )
    password = registry.password.get_secret_value() if registry.password else None
    if registry.password_file is not None:
        password = private_text(registry.password_file, f"registries.{name}.password_file")
    url, *in_url = without_login(registry.url)
    return RegistryEndpoint(
        name,
        url,
        registry.username or in_url[0],
        in_url[1] if password is None else password,
        None if registry.ca_certs is None else str(registry.ca_certs),
    )


def private_text(file: Path, setting: str) -> str:
    """Return the text of a secret's file. Raises ShopstreamError if it is unreadable, or readable by others."""
    try:
        mode, text = stat.S_IMODE(file.stat().st_mode), file.read_text("utf-8").strip()
    except OSError as error:
        raise ShopstreamError(f"The file {file} cannot be read: {error.strerror}.", f"Correct {setting}.") from error
    if mode & 0o077:
        raise ShopstreamError(
            f"Others can read the file {file} of {setting}: its mode is {mode:o}.", f"Run `chmod 600 {file}`."
        )
    return text
