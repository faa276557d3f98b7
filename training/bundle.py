"""Writes and loads bundles: one folder with a trained model and everything needed to use, evaluate or reject it.

| file | contents |
| --- | --- |
| `bundle.json` | name, fingerprint, model, training window, library versions, thresholds, breaks, checksums |
| `model.json`, `model.txt`, `model.skops` | churn model: XGBoost, LightGBM or scikit-learn; never a bare pickle |
| `next_purchase.json`, `next_days.json`, `next_revenue.json` | next-purchase models: XGBoost, where tested |
| `preparation.json` | columns, BG/NBD parameters, calibration |
| `rules.yaml` | segment rules |
| `profile.json` | distribution of the rows at the end of the training window, for drift detection |
| `metrics.json`, `card.html` | quality of the model, as data and as a page |
| `predict.py`, `requirements.txt` | scores a CSV without the project |

The rule of this file: a bundle is complete or absent. It is written to a sibling folder and then renamed. `current` is
a file with the name of a sibling and is replaced atomically. Checksums reveal later changes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import json
import platform
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from connectors.files import publish_folder, write_whole
from connectors.formats.rules_file import parse_rules
from features.errors import ShopstreamError, UsageError
from features.rules.segments import Rules
from features.scores import score
from features.scores.drift import Profile, learn_profile
from features.scores.score import RfmBreaks, RiskThresholds, Scoring
from training import predict
from training.churn.evaluation import Report
from training.churn.hazard import FittedHazard
from training.churn.train import Trained
from training.dataset import TrainingSet
from training.model_card import render
from training.next_purchase.train import NextModel
from training.predict import COLUMNS, PREPARATION, Model
from training.scorer import BundleScorer

FORMAT: Final = 1
CURRENT: Final = "current"
_DISTRIBUTIONS: Final = {
    "xgboost": ("numpy", "xgboost-cpu"),
    "lightgbm": ("numpy", "lightgbm"),
    "skops": ("numpy", "scikit-learn", "skops"),
    "bgnbd": ("numpy",),
    "paced_hazard": ("numpy", "xgboost-cpu"),
}
"""Kind of model -> distributions that `predict.py` needs."""
_FILES: Final = {
    "xgboost": "model.json",
    "lightgbm": "model.txt",
    "skops": "model.skops",
    "bgnbd": "preparation.json",
    "paced_hazard": "model.json",
}
_TRAIN_AGAIN: Final = "Train a bundle with this version: shopstream train DIR --out BUNDLE."


def program_fingerprint() -> str:
    """Return the fingerprint that a bundle must match: schema of the rows, their preparation and the format."""
    content = f"{score.fingerprint()} {PREPARATION} {FORMAT} {' '.join(COLUMNS)}"
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Bundle:
    """A bundle that is compatible with this program.

    Attributes:
        folder: folder of the bundle.
        about: contents of `bundle.json`.
    """

    folder: Path
    about: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name derived from the contents: equal names mean equal models."""
        return str(self.about["name"])

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the program that trained it, see `program_fingerprint`."""
        return str(self.about["fingerprint"])

    @property
    def horizon_days(self) -> int:
        """Horizon of the churn probability in days."""
        return int(self.about["horizon_days"])

    @property
    def trained_until_ms(self) -> int:
        """End of the training window, epoch ms; the model saw nothing later."""
        return int(self.about["window"]["end_ms"])

    @cached_property
    def breaks(self) -> RfmBreaks:
        """Breaks of the RFM scores."""
        return msgspec.convert(self.about["breaks"], RfmBreaks)

    @cached_property
    def thresholds(self) -> RiskThresholds:
        """Thresholds of the risk bands."""
        return msgspec.convert(self.about["thresholds"], RiskThresholds)

    @cached_property
    def rules(self) -> Rules:
        """Segment rules at training time."""
        return parse_rules((self.folder / "rules.yaml").read_text("utf-8"), str(self.folder / "rules.yaml"))

    @cached_property
    def training_profile(self) -> Profile:
        """Profile of all rows at the end of the training window and of their churn probability."""
        return msgspec.json.decode((self.folder / "profile.json").read_bytes(), type=Profile)

    @cached_property
    def metrics(self) -> Report:
        """Evaluation report, see `evaluation.report`."""
        report: Report = json.loads((self.folder / "metrics.json").read_text("utf-8"))
        return report

    def scorer(self, rules: Rules | None = None, threads: int = 1) -> BundleScorer:
        """Return a scorer; `rules` replaces the bundle's segment rules.

        Raises:
            ShopstreamError: the models are damaged or of an unsupported kind.
        """
        try:
            model = Model(self.folder, threads)
        except Exception as error:  # each library raises its own exceptions
            problem = f"{type(error).__name__}: {error}"
            raise ShopstreamError(
                f"The models of the bundle {self.folder} cannot be used: {problem}.", _TRAIN_AGAIN
            ) from error
        return BundleScorer(model, self.breaks, self.thresholds, self.rules if rules is None else rules)

    def scoring(self, rules: Rules | None = None, threads: int = 1) -> Scoring:
        """Return what a consumer needs for live scoring."""
        effective = self.rules if rules is None else rules
        return Scoring(
            self.name,
            self.scorer(effective, threads),
            self.thresholds,
            self.training_profile,
            effective.profile_columns,
        )


# --- writing ----------------------------------------------------------------------------------------------------------
def write_bundle(
    folder: Path,
    trained: Trained,
    training: TrainingSet,
    breaks: RfmBreaks,
    rules: Rules,
    report: Report,
    seed: int,
    following: Sequence[NextModel] = (),
    *,
    own_name: bool = False,
) -> Bundle:
    """Write a bundle atomically.

    Args:
        folder: target folder; it must not exist.
        trained: churn model.
        training: training set of the model.
        breaks: breaks of the RFM scores.
        rules: segment rules.
        report: see `evaluation.report`.
        seed: seed of the training.
        following: next-purchase models.
        own_name: name the folder after the bundle instead, next to `folder`. Equal models share one folder, and a
            damaged bundle of that name is replaced.

    Raises:
        ShopstreamError: the folder exists already or cannot be written.
    """
    if folder.exists() and not own_name:
        raise ShopstreamError(f"{folder} exists already.", "Name another folder, or remove it.")
    # unique per process: two may train at the same time
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        partial.mkdir(parents=True)
        about = _write_parts(partial, trained, training, breaks, rules, seed, following)
        _write_json(partial / "metrics.json", report)
        scorer = Bundle(partial, about).scorer(rules)
        scores = scorer.score(training.latest)
        columns = [*COLUMNS, "top_category_90d", "churn_probability"]
        profile = learn_profile(training.latest.hstack(scores.select("churn_probability")), columns)
        (partial / "profile.json").write_bytes(msgspec.json.encode(profile))
        (partial / "card.html").write_text(render(about, report, scorer.drivers(training.latest)), "utf-8")
        about["files"] = {
            file.name: _checksum(file) for file in sorted(partial.iterdir()) if file.name != "bundle.json"
        }
        _write_json(partial / "bundle.json", about)
        if own_name:
            folder = folder.with_name(about["name"])
            if (existing := _intact(folder)) is not None:
                return existing
            shutil.rmtree(folder, ignore_errors=True)
        publish_folder(partial, folder)
    except OSError as error:
        raise ShopstreamError(f"The bundle {folder} cannot be written: {error}.", "Name another folder.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Bundle(folder, about)


def _write_churn(folder: Path, trained: Trained) -> str:
    """Write the file of the churn model and return its kind."""
    model = trained.model
    kind = model.candidate.family if model.candidate.family in _FILES else "skops"
    if isinstance(model, FittedHazard):
        model.trees.get_booster().save_model(folder / _FILES[kind])
    elif kind == "xgboost":
        assert model.pipeline is not None
        model.pipeline.named_steps["model"].get_booster().save_model(folder / _FILES[kind])
    elif kind == "lightgbm":
        assert model.pipeline is not None
        model.pipeline.named_steps["model"].booster_.save_model(folder / _FILES[kind])
    elif kind == "skops":
        import skops.io  # noqa: PLC0415 - only where it is needed

        skops.io.dump(model.pipeline, folder / _FILES[kind])
    return kind


def _write_parts(
    folder: Path,
    trained: Trained,
    training: TrainingSet,
    breaks: RfmBreaks,
    rules: Rules,
    seed: int,
    following: Sequence[NextModel],
) -> dict[str, Any]:
    """Write the files that the models need and return the contents of `bundle.json` without checksums."""
    model, kind = trained.model, _write_churn(folder, trained)
    separate = [one for one in following if one.booster is not None]
    for one in separate:
        assert one.booster is not None
        one.booster.get_booster().save_model(folder / one.target.file)
    further = {one.target.column: one.about for one in following}
    _write_json(folder / "preparation.json", trained.preparation | {"next": further})
    (folder / "rules.yaml").write_text(rules.text, "utf-8")
    (folder / "predict.py").write_text(inspect.getsource(predict), "utf-8")
    needed = sorted({*_DISTRIBUTIONS[kind], *(_DISTRIBUTIONS["xgboost"] if separate else ())})
    libraries = {name: importlib.metadata.version(name) for name in needed}
    (folder / "requirements.txt").write_text("".join(f"{name}=={v}\n" for name, v in libraries.items()), "utf-8")
    cutoffs = training.cutoffs
    about: dict[str, Any] = {
        "format": FORMAT,
        "fingerprint": program_fingerprint(),
        "horizon_days": training.horizon_days,
        "model": {
            "kind": kind,
            "file": _FILES[kind],
            "column": model.column,
            "family": model.candidate.family,
            "treatment": model.candidate.treatment,
            "parameters": dict(model.candidate.parameters),
        },
        "window": {
            "cutoffs_ms": cutoffs,
            "end_ms": training.end_ms,
            "rows": len(training.rows),
            "customers": training.rows["customer_id"].n_unique(),
            # a model fitted elsewhere, on more rows than these
            **({} if trained.external_fit is None else {"learnt": trained.external_fit}),
        },
        "seed": seed,
        "thresholds": msgspec.to_builtins(trained.thresholds),
        "breaks": msgspec.to_builtins(breaks),
        "libraries": libraries | {"python": platform.python_version()},
    }
    model_files = {_FILES[kind], "preparation.json", "rules.yaml", *(one.target.file for one in separate)}
    content = b"".join((folder / name).read_bytes() for name in sorted(model_files))
    digest = hashlib.sha256(content + json.dumps(about, sort_keys=True).encode()).hexdigest()
    about["name"] = f"churn-{training.horizon_days}d-{digest[:10]}"
    _write_json(folder / "bundle.json", about)
    return about


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", "utf-8")


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- reading ----------------------------------------------------------------------------------------------------------
def resolve(path: Path) -> Path:
    """Return the folder of the bundle: `path`, or the target of its `current` file.

    Raises:
        UsageError: neither a bundle nor a pointer exists.
    """
    if (path / "bundle.json").is_file():
        return path
    pointer = path / CURRENT
    if pointer.is_file():
        name = pointer.read_text("utf-8").strip()
        if name and Path(name).name == name and (path / name / "bundle.json").is_file():
            return path / name
        raise UsageError(f"{pointer} names {name!r}, which is not a bundle in the same folder.", _TRAIN_AGAIN)
    raise UsageError(f"{path} is not a bundle.", _TRAIN_AGAIN)


def point_current(bundle: Path) -> None:
    """Make a bundle the current one of its parent folder, atomically."""
    name = bundle.absolute().name + "\n"
    write_whole(bundle.absolute().parent / CURRENT, lambda partial: partial.write_text(name, "utf-8"))


def load_bundle(path: Path) -> Bundle:
    """Load a bundle, or the current one of a folder of bundles.

    Raises:
        UsageError: no bundle exists.
        ShopstreamError: the bundle is damaged or was trained with other features.
    """
    folder = resolve(path)
    try:
        about = json.loads((folder / "bundle.json").read_text("utf-8"))
        fingerprint, files = about["fingerprint"], about["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ShopstreamError(f"The bundle {folder} is damaged: bundle.json cannot be read.", _TRAIN_AGAIN) from error
    if fingerprint != program_fingerprint():
        raise ShopstreamError(
            f"The bundle {folder} has the fingerprint {fingerprint}, this program {program_fingerprint()}: its model "
            "was trained on other features.",
            _TRAIN_AGAIN,
        )
    for name, checksum in files.items():
        file = folder / name
        if not file.is_file() or _checksum(file) != checksum:
            raise ShopstreamError(
                f"The bundle {folder} is damaged: {name} is missing or was changed.",
                "Copy the bundle again, or train another one.",
            )
    return Bundle(folder, about)


def _intact(folder: Path) -> Bundle | None:
    try:
        return load_bundle(folder)
    except ShopstreamError:
        return None
