"""Views: what readers' aliases lead to, before, while and after another run is promoted."""

from __future__ import annotations

import threading

import pytest
from elasticsearch import NotFoundError

from connectors.elasticsearch import aliases, mappings
from connectors.elasticsearch.mappings import IndexSettings, belongs_to, owner, write_index
from consumers.index_definitions import run_definitions
from features.errors import ShopstreamError

NAMES = [definition.name for definition in run_definitions(contact=False)]
# one that is cut by month and one that is not: each costs a request at every step
DEFINITIONS = [d for d in run_definitions(contact=False) if d.name in ("customers", "events")]


@pytest.mark.parametrize(
    ("concrete", "whose"),
    [
        ("shop-customers-000001", ("shop", "customers")),
        ("shop-events-2026.03", ("shop", "events")),
        ("a-order-items-2026.03", ("a", "order-items")),
        ("a-events-events-2026.03", ("a-events", "events")),
        ("a-events-customers-000001", ("a-events", "customers")),
        ("a-orders-order-items-1997.01", ("a-orders", "order-items")),
        ("shop-customers", None),
        ("shop-customers-000002", None),
        ("shop-baskets-2026.03", None),
        ("-events-2026.03", None),
        ("logs-2026.03", None),
        ("Shop-events-2026.03", None),
    ],
)
def test_an_index_has_one_owner(concrete, whose):
    assert owner(concrete, NAMES) == whose
    if whose:
        assert belongs_to(*whose, concrete)


def test_template_has_the_aliases_of_the_views_of_its_run():
    events = next(definition for definition in DEFINITIONS if definition.name == "events")
    made = mappings.template("fixed", events, IndexSettings(), ["fixed", "shop"])
    assert set(made["template"]["aliases"]) == {"fixed-events", "shop-events"}
    assert mappings.template("shop", events, IndexSettings(), [])["template"]["aliases"] == {}


# --- on the real server ---


def put(client, run, number=3, month="2026.01"):
    """So many events of a month, written as the index consumer does: by the concrete name."""
    for n in range(number):
        client.index(index=f"{run}-events-{month}", id=f"{month}-{n}", document={"event_id": f"{month}-{n}"})
    client.indices.refresh(index=f"{run}-events-{month}")


def seen(client, alias_set, index="events"):
    """Runs whose documents a reader of an alias set find."""
    result = client.search(
        index=f"{alias_set}-{index}", size=0, aggs={"of": {"terms": {"field": "_index", "size": 50}}}
    )
    return {owner(bucket["key"], NAMES)[0] for bucket in result["aggregations"]["of"]["buckets"]}


@pytest.fixture
def pair(client, new_run):
    """A run with three events, and one with five of the same month."""
    old, new = new_run(), new_run("-fixed")
    for run, number in ((old, 3), (new, 5)):
        aliases.install(client, run, DEFINITIONS)
        put(client, run, number)
    return old, new


def test_readers_see_only_the_promoted_run(client, pair):
    old, new = pair
    assert (aliases.run_of_alias_set(client, old), aliases.alias_sets_of(client, old)) == (old, (old,))
    assert seen(client, old) == {old}
    aliases.promote(client, old, new, DEFINITIONS)
    assert (aliases.run_of_alias_set(client, old), aliases.run_of_alias_set(client, new)) == (new, new)
    assert aliases.alias_sets_of(client, old) == ()
    assert aliases.alias_sets_of(client, new) == tuple(sorted((old, new)))
    assert seen(client, old) == seen(client, new) == {new}
    aliases.promote(client, old, old, DEFINITIONS)
    assert aliases.alias_sets_of(client, old) == (old,)
    assert aliases.alias_sets_of(client, new) == (new,)
    assert seen(client, old) == {old}
    assert seen(client, new) == {new}


def test_later_month_is_visible_through_the_view_of_its_run(client, pair):
    old, new = pair
    aliases.promote(client, old, new, DEFINITIONS)
    put(client, old, month="2026.02")
    put(client, new, month="2026.03")
    assert seen(client, old) == {new}
    assert client.count(index=f"{old}-events")["count"] == 5 + 3
    aliases.promote(client, old, old, DEFINITIONS)
    put(client, new, month="2026.04")
    put(client, old, month="2026.05")
    assert seen(client, old) == {old}
    assert client.count(index=f"{old}-events")["count"] == 3 + 3 + 3
    assert client.count(index=f"{new}-events")["count"] == 5 + 3 + 3


def test_restarted_workers_do_not_move_the_view_back(client, pair):
    old, new = pair
    aliases.promote(client, old, new, DEFINITIONS)
    for run in (old, new, old):
        aliases.install(client, run, DEFINITIONS)
    put(client, old, month="2026.02")
    put(client, new, month="2026.02")
    assert seen(client, old) == {new}


def test_run_dropped_and_recreated_does_not_move_the_view_back(client, pair):
    old, new = pair
    aliases.promote(client, old, new, DEFINITIONS)
    aliases.drop(client, old, DEFINITIONS)
    assert seen(client, old) == {new}
    aliases.install(client, old, DEFINITIONS)
    put(client, old)
    assert seen(client, old) == {new}
    aliases.promote(client, old, old, DEFINITIONS)
    assert seen(client, old) == {old}


class Died(BaseException):
    """In the middle of a promotion."""


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 5])
def test_promotion_killed_at_any_step_shows_one_run_and_the_next_completes_it(client, pair, monkeypatch, calls):
    """Dying before one of the requests that change something: old templates (2), aliases (1), new templates (2) ..."""
    old, new = pair
    left = calls
    put_template, update = aliases._put_template, aliases._send_actions

    def dying(real):
        def call(*arguments):
            nonlocal left
            if left == 0:
                raise Died
            left -= 1
            real(*arguments)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(aliases, "_put_template", dying(put_template))
        patched.setattr(aliases, "_send_actions", dying(update))
        with pytest.raises(Died):
            aliases.promote(client, old, new, DEFINITIONS)
    behind = aliases.run_of_alias_set(client, old)
    assert behind == (old if calls < 3 else new)
    put(client, old, month="2026.02")
    put(client, new, month="2026.02")
    assert seen(client, old) == {behind}
    # either the worker's next start or the next promotion sets right what is left
    aliases.install(client, behind, DEFINITIONS)
    assert client.count(index=f"{old}-events")["count"] == {old: 6, new: 8}[behind]
    aliases.promote(client, old, new, DEFINITIONS)
    assert seen(client, old) == {new}
    assert client.count(index=f"{old}-events")["count"] == 8


@pytest.mark.parametrize("when", ["the start reads, the promotion is whole, the start writes", "in the promotion"])
def test_worker_started_during_a_promotion_does_not_change_it(client, pair, monkeypatch, when):
    old, new = pair
    put_templates, update = aliases._put_templates, aliases._update_aliases

    def then_promote(*arguments):
        monkeypatch.undo()
        aliases.promote(client, old, new, DEFINITIONS)
        put_templates(*arguments)

    def start_first(*arguments):
        monkeypatch.undo()
        aliases.install(client, old, DEFINITIONS)
        put(client, old, month="2026.06")
        update(*arguments)

    if when == "in the promotion":
        monkeypatch.setattr(aliases, "_update_aliases", start_first)
        aliases.promote(client, old, new, DEFINITIONS)
    else:
        monkeypatch.setattr(aliases, "_put_templates", then_promote)
        aliases.install(client, old, DEFINITIONS)
    put(client, old, month="2026.02")
    put(client, new, month="2026.02")
    assert seen(client, old) == {new}
    assert client.count(index=f"{old}-events")["count"] == 8


def test_alias_change_planned_before_a_promotion_is_refused_completely(client, pair):
    old, new = pair
    late = {"add": {"index": f"{old}-events-2026.01", "alias": f"{old}-events"}}
    client.indices.update_aliases(actions=[*aliases._only_if(old, old), late])
    aliases.promote(client, old, new, DEFINITIONS)
    with pytest.raises(NotFoundError):
        client.indices.update_aliases(actions=[*aliases._only_if(old, old), late])
    assert seen(client, old) == {new}


def test_readers_see_one_complete_run_throughout_many_promotions(client, pair):
    old, new = pair
    whole = {old: 3, new: 5}
    for run in pair:
        client.index(index=write_index(run, "customers"), id="c", document={"customer_id": "c"}, refresh=True)
    over = threading.Event()
    result, wrong = [], []

    def read():
        # two aliases in one question, as a page of a dashboard asks
        body = {"of": {"terms": {"field": "_index"}}}
        while not over.is_set():
            answer = client.search(index=[f"{old}-events", f"{old}-customers"], size=0, aggs=body)
            buckets = answer["aggregations"]["of"]["buckets"]
            counts = {owner(bucket["key"], NAMES): bucket["doc_count"] for bucket in buckets}
            runs = {run for run, _ in counts}
            result.append(frozenset(runs))
            if len(runs) != 1 or counts != {(run, "events"): whole[run] for run in runs} | {
                (run, "customers"): 1 for run in runs
            }:
                wrong.append(counts)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(4):
        for run in (new, old):
            aliases.promote(client, old, run, DEFINITIONS)
    over.set()
    for reader in readers:
        reader.join()
    assert not wrong, (len(wrong), wrong[0])
    assert {run for runs in result for run in runs} == set(pair), "the readers have seen both"


def test_alias_of_the_user_is_not_changed(client, pair):
    old, new = pair
    client.indices.put_alias(index=f"{new}-events-2026.01", name="marketing-events")
    try:
        aliases.promote(client, old, new, DEFINITIONS)
        aliases.install(client, new, DEFINITIONS)
        assert client.indices.exists_alias(index=f"{new}-events-2026.01", name="marketing-events")
    finally:
        client.indices.delete_alias(index=f"{new}-events-2026.01", name="marketing-events")


def test_a_run_without_indices_cannot_be_promoted(client, pair, new_run):
    with pytest.raises(ShopstreamError, match="has no indices"):
        aliases.promote(client, pair[0], new_run(), DEFINITIONS)
    assert seen(client, pair[0]) == {pair[0]}


def test_counts_of_a_run_do_not_depend_on_its_view(client, pair):
    old, new = pair
    put(client, old, 2, month="2026.02")
    aliases.promote(client, old, new, DEFINITIONS)
    counted = aliases.count_documents(client, old, DEFINITIONS)
    assert (counted["events"], counted["customers"]) == (5, 0)
    stored = {(one.run, one.name): one for one in aliases.stored_indices(client, NAMES)}
    assert stored[old, "events"].documents == 5
    assert stored[old, "events"].parts == (f"{old}-events-2026.01", f"{old}-events-2026.02")
    assert stored[old, "events"].aliases == ()
    assert stored[new, "events"].aliases == tuple(sorted((f"{old}-events", f"{new}-events")))
