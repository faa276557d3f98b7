"""`map` reads the rates of its mappings once, and gives them to its workers."""

from __future__ import annotations

import json

import msgspec
import pytest

from connectors.formats.money_format import ShopMoney
from connectors.messages.mapped import Message
from features.errors import UsageError
from producers.importing.mapping import parse_mapping
from producers.topic_mapping.mapper import TopicMapper
from shopstream.jobs.map_topics import load_mappings
from shopstream.runtime.protocol import MappingTask
from shopstream.settings import ShopSettings, load_settings

MAPPING = """
kind: orders
from: {topic: raw-orders, format: json}
time: {path: at}
currency: {path: cur, rates_file: rates.csv}
order: {rows: order, id: id, customer: who, total: total}
"""
ORDER = {"id": "1", "who": "a", "at": "2026-03-05T23:30:00Z", "total": "10.00", "cur": "USD"}


@pytest.fixture
def file(tmp_path):
    (tmp_path / "rates.csv").write_text("day,currency,rate\n2026-03-06,USD,0.5\n")
    (tmp_path / "orders.yaml").write_text(MAPPING)
    return tmp_path / "orders.yaml"


def test_worker_converts_by_the_rates_of_the_task_without_the_file(file):
    settings = load_settings(shop={"currency": "EUR", "time_zone": "Europe/Berlin"})
    loaded = load_mappings(settings, [str(file)], {})
    task = MappingTask(loaded.texts, {}, "", (), (), money=loaded.money, rates=dict(loaded.rates))
    sent = msgspec.json.decode(msgspec.json.encode(task), type=MappingTask)
    (file.parent / "rates.csv").unlink()
    ((name, text),) = sent.texts
    mapper = TopicMapper(name, parse_mapping(text, name, sent.answers, sent.money, sent.rates[name]))
    for one in (mapper, *loaded.mappers):
        (record,) = one.map([Message(json.dumps(ORDER).encode(), "raw-orders-0-0")]).records
        assert json.loads(record.value)["total"] == 5.0
    assert sent.money == ShopMoney("EUR", 2, "Europe/Berlin")


def test_map_without_a_currency_of_the_shop_is_refused_with_the_remedy(file):
    with pytest.raises(UsageError, match="nothing names the currency") as error:
        load_mappings(load_settings(), [str(file)], {})
    assert "orders.yaml, line 5: currency.rates_file" in error.value.message
    assert "shop.currency" in error.value.remedy


@pytest.mark.parametrize(
    ("name", "value", "reason"), [("currency", "KWD", "3 decimals"), ("locale", "xx", "not a locale")]
)
def test_wrong_setting_of_the_shop_is_refused_with_the_reason(name, value, reason, monkeypatch):
    monkeypatch.setenv(f"SHOPSTREAM_SHOP__{name.upper()}", value)
    with pytest.raises(UsageError, match=rf"Setting shop\.{name} \(SHOPSTREAM_SHOP__{name.upper()}\): .*{reason}"):
        load_settings()


def test_settings_name_the_form_of_amounts():
    assert ShopSettings(currency="JPY", locale="ja-JP").money.decimals == 0
    assert ShopSettings().money.text(1234.5) == "1,234.50"
