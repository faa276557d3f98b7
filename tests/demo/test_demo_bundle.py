"""The demo's bundle: its horizon, the command that trains it, and which bundle scores a history."""

from __future__ import annotations

import msgspec
import pytest
from guards.test_commands import parses

from features.errors import ShopstreamError
from features.schema import DAY_MS
from producers.shop.shop import Shop
from shopstream.demo import first_bundle
from shopstream.demo.demo import Demo
from training import bundle as bundles
from training.dataset import plan_cutoffs

END_MS = 20_000 * DAY_MS
HISTORY = "history-5000"


def shop(customers, days):
    return Shop(end_ms=END_MS, customers=customers, events=customers * 100, days=days)


# --- the horizon ---


def test_shop_of_the_demo_is_trained_with_a_horizon_of_90_days():
    horizon = first_bundle.horizon_of(Demo().shop(END_MS))
    assert horizon.horizon_days == 90
    assert len(plan_cutoffs(0, 365 * DAY_MS, horizon)) >= 12


@pytest.mark.parametrize("days", [120, 150, 200, 365, 800])
def test_cutoffs_and_horizon_fit_a_shop_of_any_length(days):
    horizon = first_bundle.horizon_of(shop(300, days))
    result = plan_cutoffs(0, days * DAY_MS, horizon)
    assert len(result) == first_bundle.CUTOFFS
    assert result[-1] - result[0] > horizon.horizon_days * DAY_MS, "no room to test on later times"


@pytest.mark.parametrize(("customers", "days"), [(299, 365), (5_000, 119)])
def test_shop_that_is_too_small_has_no_training_plan(customers, days):
    assert first_bundle.horizon_of(shop(customers, days)) is None


# --- whose bundle it is ---


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of bundles; a folder called `broken…` fits no program."""

    def load(path):
        folder = bundles.resolve(path)
        if folder.name.startswith("broken"):
            raise ShopstreamError("it does not fit")
        return bundles.Bundle(folder, {"name": folder.name})

    def put(name, *, current=False):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bundle.json").touch()
        if current:
            bundles.point_current(tmp_path / name)

    monkeypatch.setattr(bundles, "load_bundle", load)
    put.folder = tmp_path
    return put


def note(shelf, **made):
    (shelf.folder / first_bundle.TRAINED_FILE).write_bytes(msgspec.json.encode(made))


def usable(shelf):
    result = first_bundle.usable_bundle(shelf.folder, HISTORY)
    return None if result is None else result.folder.name


def pointed(shelf):
    return bundles.resolve(shelf.folder).name


def test_empty_bundle_folder_has_no_usable_bundle(shelf):
    assert usable(shelf) is None


def test_a_bundle_is_trained_once_for_a_history(shelf):
    shelf("ours", current=True)
    note(shelf, **{HISTORY: "ours"})
    assert usable(shelf) == "ours"


def test_a_bundle_of_another_history_does_not_score_this_one(shelf):
    shelf("other", current=True)
    note(shelf, **{"history-200": "other"})
    assert usable(shelf) is None


def test_return_to_a_history_makes_its_bundle_current_again(shelf):
    shelf("ours")
    shelf("other", current=True)
    note(shelf, **{HISTORY: "ours", "history-200": "other"})
    assert usable(shelf) == pointed(shelf) == "ours"


def test_bundle_that_the_user_made_current_stays_current(shelf):
    shelf("ours")
    shelf("theirs", current=True)
    note(shelf, **{HISTORY: "ours"})
    assert usable(shelf) == pointed(shelf) == "theirs"


def test_bundle_that_does_not_fit_is_trained_again(shelf):
    shelf("broken-ours", current=True)
    note(shelf, **{HISTORY: "broken-ours"})
    assert usable(shelf) is None


def test_damaged_state_file_is_ignored(shelf):
    shelf("ours", current=True)
    (shelf.folder / first_bundle.TRAINED_FILE).write_text("{")
    assert usable(shelf) == "ours", "whose it is is not known: it is left as it is"


# --- its training ---


@pytest.mark.parametrize("days", [120, 365])
def test_bundle_is_trained_by_the_train_command(tmp_path, days):
    parses(["shopstream", *first_bundle.train_command(tmp_path / HISTORY, first_bundle.horizon_of(shop(300, days)))])


def test_trained_bundle_is_reused_for_its_history(shelf):
    shelf("new", current=True)
    assert first_bundle.record_trained(shelf.folder, HISTORY).folder.name == "new"
    assert first_bundle.usable_bundle(shelf.folder, "history-200") is None
    assert usable(shelf) == "new"
