"""Models that learn from rows that are elsewhere: told in words, the same rows are found there."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from shopstream.jobs.train import train_bundle
from training.bundle import load_bundle
from training.churn.external_fit import FitTask
from training.churn.selection import TrainSplit, splits
from training.churn.train import _usable
from training.dataset import LABEL, TrainingSet
from training.predict import matrix
from training.scorer import numbers

BGNBD = {"r": 0.5, "alpha": 20.0, "a": 0.8, "b": 2.5}


@dataclass
class Elsewhere:
    """A learner that has the rows in another order."""

    training: TrainingSet
    asked: list = field(default_factory=list)
    about: dict = field(default_factory=dict)

    def fit(self, model, task):
        rows = self.training.rows if task.label == LABEL else self.training.followed
        chosen, inputs, labels = task.prepared(rows.sample(fraction=1, shuffle=True, seed=1))
        self.asked.append((task, len(chosen)))
        self.about = {"rows": len(chosen), "workers": 7}
        return model.fit(inputs, labels)


@pytest.mark.parametrize("validation", ["time", "customers"])
def test_training_rows_are_selected_by_their_description(training, validation):
    rows = training.rows
    kind, parts = splits(rows, training.horizon_days, validation, 2, seed=3)
    assert kind == validation
    shuffled = rows.with_row_index().sample(fraction=1, shuffle=True, seed=2)
    for part in parts:
        assert part.train.any()
        assert not (part.train & part.test).any()
        found = shuffled.filter(part.train_split.of(shuffled))["index"].sort().to_numpy()
        assert np.array_equal(found, np.flatnonzero(part.train))


def test_external_rows_are_prepared_as_local_ones(training):
    rows = training.followed
    label = "next_days"
    task = FitTask(label, TrainSplit(until_ms=training.cutoffs[1]), BGNBD, training.horizon_days, unit=90.0)
    chosen, inputs, labels = task.prepared(rows)
    known = rows.filter(rows[label].is_not_null() & (rows["as_of"] <= training.cutoffs[1]))
    assert chosen.equals(known)
    assert np.array_equal(inputs, matrix(numbers(known), BGNBD, training.horizon_days)[0], equal_nan=True)
    assert labels.tolist() == (known[label].to_numpy() / 90.0).tolist()


def test_bundle_holds_the_externally_fitted_model(archive, training, plans, tmp_path):
    horizon, plan = plans
    learner = Elsewhere(training)
    sample = replace(training, rows=training.rows.filter(training.rows["customer_id"].hash(1) % 2 == 0))
    bundle, _ = train_bundle(
        archive, tmp_path / "bundle", horizon, plan, gather=lambda *_: sample, learner=lambda: learner
    )
    assert bundle.about["model"]["family"] == "xgboost"
    assert bundle.about["window"]["learnt"] == {"rows": len(training.rows), "workers": 7}
    assert bundle.about["window"]["rows"] == len(sample.rows)
    assert f"{len(training.rows):,} rows by 7 workers" in (tmp_path / "bundle" / "card.html").read_text("utf-8")
    assert load_bundle(tmp_path / "bundle").name == bundle.name
    labels = [task.label for task, _ in learner.asked]
    # tested first, by rows whose horizon had ended, then learnt from all of them
    assert labels[:2] == [LABEL, LABEL]
    (tested, some), (_, every) = learner.asked[:2]
    assert tested.train_split.until_ms is not None
    assert some < every == len(training.rows)
    assert {"next_bought_30d", "next_days"} <= set(labels)


def test_no_candidate_needs_all_rows_in_memory():
    def tried(treatment):
        return type("Choice", (), {"candidate": type("Candidate", (), {"treatment": treatment})})

    choices = [tried("smote"), tried("weights"), tried("none")]
    assert [one.candidate.treatment for one in _usable(choices, object())] == ["weights", "none", "smote"]
    assert _usable(choices, None) is choices
