"""The documents: what they name exists, what they count is counted so, what they show can be typed."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from guards.repository import ROOT, commands, documents, name_of, split_command
from guards.test_commands import parses

from features import definitions, schema
from features.schema import DAY_MS, HOUR_MS
from features.scores.score import SCORE_SCHEMA
from features.state import tables
from shopstream.settings import load_settings

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
CONTRACT = (ROOT / "docs" / "features.md").read_text("utf-8").replace("\N{MINUS SIGN}", "-")


# --- links ------------------------------------------------------------------------------------------------------------
def anchors(text: str) -> set[str]:
    """The names under which GitHub lets headings be linked."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in plain}


def broken(path: Path, text: str) -> list[str]:
    """Links to files or headings that do not exist."""
    found = []
    for link in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            found.append(link)
    return found


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_links_of_a_document_resolve(path):
    assert broken(path, path.read_text("utf-8")) == []


def test_broken_link_is_detected():
    text = "[a](docs/none.md) [b](README.md#none) [c](README.md) [d](https://somewhere) [e](#here)\n\n## Here\n"
    assert broken(ROOT / "README.md", text)[:2] == ["docs/none.md", "README.md#none"]


def test_every_document_is_reachable_from_the_readme():
    seen: set[Path] = set()
    left = [ROOT / "README.md"]
    while left:
        path = left.pop()
        if path in seen or path.suffix != ".md" or not path.is_file():
            continue
        seen.add(path)
        left += [(path.parent / link.partition("#")[0]).resolve() for link in LINK.findall(path.read_text("utf-8"))]
    assert [name_of(path) for path in documents() if path not in seen] == []


def test_the_index_lists_every_page_once():
    index = ROOT / "docs" / "README.md"
    listed = [link for link in LINK.findall(index.read_text("utf-8")) if "/" not in link]
    pages = sorted(path.name for path in (ROOT / "docs").glob("*.md") if path != index)
    assert sorted(listed) == pages


# --- commands ---------------------------------------------------------------------------------------------------------
def command_lines(text: str) -> list[str]:
    """Lines of shell in the fenced blocks of a document, continued ones joined."""
    lines = []
    for language, block in FENCE.findall(text):
        shell = block.replace("\\\n", " ").splitlines()
        if language == "console":
            lines += [line.removeprefix("$ ") for line in shell if line.startswith("$ ")]
        elif language in ("sh", "bash", "shell"):
            lines += shell
    return [re.sub(r"\s+# .*", "", line) for line in lines]


def check_line(line: str) -> None:
    """Parses the calls of `shopstream` and `make` in a line of shell; other programs are not ours to judge."""
    for part in re.split(r"\$\(|\)|\||&&|;", line):
        words = shlex.split(part.strip().replace("'", "").replace('"', ""), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words and words[0] == "shopstream":
            words = [word for word in words if word != "&"]
            parses(words[: words.index(">")] if ">" in words else words)
        elif words and words[0] == "make":
            targets = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
            missing = [target for target in targets if not re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)]
            if missing:
                raise ValueError(f"no such target: {missing}")


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_command_lines_of_a_document_parse(path):
    for line in command_lines(path.read_text("utf-8")):
        check_line(line)


def test_the_readme_shows_the_two_commands():
    lines = command_lines((ROOT / "README.md").read_text("utf-8"))
    assert "make demo" in lines
    assert "make test" in lines
    assert sum(line.startswith("shopstream ") for line in lines) >= 6


@pytest.mark.parametrize(
    "line",
    ["shopstream no-such", "FOO=1 shopstream up --no-such", "x=$(shopstream status --jsn | cat)", "make no-such"],
)
def test_invalid_command_line_of_a_document_is_detected(line):
    with pytest.raises(Exception, match=r"(?i)no such"):
        check_line(line)


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_commands_named_in_the_text_exist(path):
    text = FENCE.sub("", path.read_text("utf-8"))
    for inline in re.findall(r"`shopstream ([^`]+)`", text):
        name, words = split_command(inline.split())
        options = {o for p in commands()[name].params for o in getattr(p, "opts", [])}
        assert {word for word in words if word.startswith("--")} <= options, inline


# --- names and figures ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_files_named_in_the_text_exist(path):
    text = FENCE.sub("", path.read_text("utf-8"))
    named = set(re.findall(r"`((?:shopstream|features|producers|consumers|tests|docs|benchmarks)/[\w./-]*)`", text))
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_absolute_paths_of_a_document_exist_on_every_machine(path):
    """An absolute path in a document is one that every machine has."""
    found = re.findall(r"(?<![\w.:/*<])/([a-zA-Z][\w.-]*)/", path.read_text("utf-8"))
    assert set(found) <= {"etc", "var", "run", "usr"}


def load_tables():
    spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_generated_tables_equal_the_code(path):
    text = path.read_text("utf-8")
    assert load_tables().rewritten(text) == text, "run `python docs/tables.py`"


def test_every_table_is_used():
    used = {name for path in documents() for _, name, _, _ in load_tables().BLOCK.findall(path.read_text("utf-8"))}
    assert used == set(load_tables().TABLES)


def test_every_feature_is_defined_in_the_contract():
    rows = dict(re.findall(r"^\| `(\w+)` \| \w+ \| (.+) \|$", CONTRACT, re.MULTILINE))
    for feature in definitions.FEATURES:
        assert rows[feature.name] == feature.help


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_no_feature_is_named_that_does_not_exist(path):
    named = set(re.findall(r"\b[a-z]\w*_(?:7|30|90|365)d\b", path.read_text("utf-8")))
    assert named <= {*definitions.ROW_SCHEMA, *SCORE_SCHEMA}


def section(title: str) -> str:
    """What stands below a heading of the contract, up to the next one."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", CONTRACT, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(("title", "topic"), [("Events", "events"), ("Orders", "orders"), ("Customers", "customers")])
def test_documented_records_equal_the_schema(title, topic):
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \| (yes|no) \|", section(title), re.MULTILINE)
    words = {"string": "string", "int": "int", "time": "int", "float": "number", "bool": "bool"}
    fields = schema.record_fields(schema.RECORD_TYPES[topic])
    assert rows == [(f.name, words.get(f.kind, "list of objects"), "yes" if f.required else "no") for f in fields]


def test_documented_sessions_equal_the_schema():
    named = {
        name for row in re.findall(r"^\| (`.+?) \| ", section("Sessions"), re.MULTILINE) for name in row.split("`")
    }
    fields = {f.name for f in schema.SESSION_FIELDS if not f.name.startswith("n_")}
    assert fields - named == {"customer_id", "session_id", "channel", "country", "category"}


@pytest.mark.parametrize(
    "words",
    [
        ", ".join(f"`{word}`" for word in schema.EVENT_TYPES),
        ", ".join(f"`{word}`" for word in schema.DEVICES),
        ", ".join(f"`{word}`" for word in schema.STATUSES),
        " < ".join(schema.STATUSES),
        f"ts < H - {schema.EVENT_LATENESS_MS // HOUR_MS} h",
        f"ts < H - {schema.ORDER_LATENESS_MS // DAY_MS} days",
        f"H passes ts + {schema.EVENT_LATENESS_MS // HOUR_MS} h",
        f"H passes last_ts + {schema.SESSION_RETENTION_MS // DAY_MS} days",
        f"H passes ts + {schema.ORDER_LATENESS_MS // DAY_MS} days",
        f"[ts, ts + {schema.ORDER_CHANGE_MS_MAX // DAY_MS} days]",
        f"last_ts ≤ as_of - {schema.ABANDONED_AFTER_MS:,}",
        f"W · {DAY_MS:,}",
        f"{schema.AMOUNT_MAX:g}".replace("e+", "e"),
    ],
)
def test_documented_numbers_and_words_equal_the_schema(words):
    assert words in CONTRACT


def test_documented_row_sizes_equal_the_tables():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    sizes = dict(re.findall(r"^\| (`?[\w ]+`?) \| .+ \| (\d+)[^|]* \| .+ \|$", text, re.MULTILINE))
    kinds = {
        "`customers`": tables.CUSTOMER, "`orders`": tables.ORDER, "`sessions`": tables.SESSION,
        "`views`": tables.VIEW, "`recent`": tables.RECENT, "event ids": None,
    }  # fmt: skip
    assert {name: int(sizes[name]) for name in kinds} == {
        name: 16 if kind is None else kind.itemsize for name, kind in kinds.items()
    }


def test_the_example_file_of_settings_is_valid(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    (example,) = (block for language, block in FENCE.findall(text) if language == "toml")
    (tmp_path / "shopstream.toml").write_text(example, "utf-8")
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.kafka.partitions == tomllib.loads(example)["kafka"]["partitions"]
    assert settings.elasticsearch.url is not None
