"""The demo's bundle: who is asked for one, when it is trained, and what ends its training."""

from __future__ import annotations

import importlib
import os

import msgspec
import psutil
import pytest

from features.errors import ShopstreamError
from features.schema import DAY_MS
from producers.shop.shop import Shop
from shopstream.demo import first_bundle
from shopstream.demo.child_process import DiedError, apart
from shopstream.demo.demo import Demo
from shopstream.demo.lesson import Lesson, NothingLearntError, learn
from training import bundle as bundles
from training.dataset import plan_cutoffs

END_MS = 20_000 * DAY_MS
HISTORY = "history-5000"


def shop(customers, days):
    return Shop(end_ms=END_MS, customers=customers, events=customers * 100, days=days)


def trainings() -> list[psutil.Process]:
    """Children of this process; the servers of other tests, which are no Python, are children too."""
    return [child for child in psutil.Process().children() if child.name().startswith("python")]


# --- the horizon ---


def test_the_demos_own_shop_is_learnt_over_90_days():
    horizon = first_bundle.horizon_of(Demo().shop(END_MS))
    assert horizon.horizon_days == 90
    assert len(plan_cutoffs(0, 365 * DAY_MS, horizon)) >= 12


@pytest.mark.parametrize("days", [120, 150, 200, 365, 800])
def test_cutoffs_and_horizon_fit_a_shop_of_any_length(days):
    horizon = first_bundle.horizon_of(shop(300, days))
    found = plan_cutoffs(0, days * DAY_MS, horizon)
    assert len(found) == first_bundle.CUTOFFS
    assert found[-1] - found[0] > horizon.horizon_days * DAY_MS, "no room to test on later times"


@pytest.mark.parametrize(("customers", "days"), [(299, 365), (5_000, 119)])
def test_a_shop_that_is_too_small_teaches_nothing(customers, days):
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
    (shelf.folder / first_bundle.NOTES).write_bytes(msgspec.json.encode(made))


def kept(shelf):
    found = first_bundle.kept(shelf.folder, HISTORY)
    return None if found is None else found.folder.name


def pointed(shelf):
    return bundles.resolve(shelf.folder).name


def test_nothing_is_kept_where_nothing_is(shelf):
    assert kept(shelf) is None


def test_a_bundle_is_trained_once_for_a_history(shelf):
    shelf("ours", current=True)
    note(shelf, **{HISTORY: "ours"})
    assert kept(shelf) == "ours"


def test_a_bundle_of_another_history_does_not_score_this_one(shelf):
    shelf("other", current=True)
    note(shelf, **{"history-200": "other"})
    assert kept(shelf) is None


def test_back_at_a_history_its_own_bundle_is_current_again(shelf):
    shelf("ours")
    shelf("other", current=True)
    note(shelf, **{HISTORY: "ours", "history-200": "other"})
    assert kept(shelf) == pointed(shelf) == "ours"


def test_what_somebody_else_made_current_stays(shelf):
    shelf("ours")
    shelf("theirs", current=True)
    note(shelf, **{HISTORY: "ours"})
    assert kept(shelf) == pointed(shelf) == "theirs"


def test_a_bundle_that_does_not_fit_is_trained_anew(shelf):
    shelf("broken-ours", current=True)
    note(shelf, **{HISTORY: "broken-ours"})
    assert kept(shelf) is None


def test_damaged_notes_are_no_notes(shelf):
    shelf("ours", current=True)
    (shelf.folder / first_bundle.NOTES).write_text("{")
    assert kept(shelf) == "ours", "whose it is is not known: it is left as it is"


# --- the process that learns ---


def lesson(tmp_path):
    history = tmp_path / "history"
    history.mkdir()
    return Lesson(history, tmp_path / "bundles", first_bundle.horizon_of(shop(300, 120)))


def test_an_archive_that_teaches_nothing_is_told_in_words(tmp_path):
    said = []
    with pytest.raises(NothingLearntError) as told:
        learn(lesson(tmp_path), lambda what, share: said.append(what) is None)
    assert str(tmp_path / "history") in told.value.message or "archive" in told.value.message.lower()
    assert said
    assert not trainings()


def test_a_training_that_breaks_is_not_taken_for_one_that_learnt_nothing(tmp_path):
    broken = Lesson(tmp_path, None, first_bundle.horizon_of(shop(300, 120)))
    with pytest.raises(DiedError, match="exit code 1"):
        learn(broken, lambda *_: True)


def test_training_ends_at_once_when_it_is_not_waited_for(tmp_path):
    assert learn(lesson(tmp_path), lambda *_: False) is None
    assert not trainings()


FOREST = """
import numpy as np
from sklearn.ensemble import RandomForestClassifier

def grown(tell):
    rows = np.random.default_rng(1).random((200, 3))
    return RandomForestClassifier(5, n_jobs=2).fit(rows, rows[:, 0] > 0.5).predict_proba(rows).shape
"""


def test_a_library_that_uses_threads_has_nothing_to_warn_of(tmp_path, monkeypatch, capfd):
    """As a daemon of `multiprocessing` it would be told by joblib, in the terminal, that it may not use them."""
    (tmp_path / "forest_of_the_test.py").write_text(FOREST)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    grown = importlib.import_module("forest_of_the_test").grown
    assert apart(grown, lambda *_: True) == (200, 2)
    assert capfd.readouterr().err == ""
