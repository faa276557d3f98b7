"""Prose is plain technical English: a list of phrases and what to write instead, and a bound on sentences."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from guards.repository import PACKAGES, ROOT, documents, name_of, package_files, scripts, sources, tree_of

INSTEAD = {
    r"who(?:m)?ever": "the subject: each user, any process",
    "anew": "again; created again, rewritten",
    "of late": "recently",
    r"stands?(?!-| for| still)|stood(?! for)": "is, is in, contains, is committed",
    "told": "receives, is configured, is reported",
    "says|tells?|hears?": "states, reports, logs, receives; of two things: distinguishes",
    "by itself says": "alone shows",
    r"(?<!dead\s)(?<!dead-)(?:the|these|those|its|each|every|no|of|all|newest) letters?": "dead letter",
    "beside": "next to, with, in addition to",
    "(?:is|are|was|were)(?: not)? asked": "requested",
    "the one before": "the previous one",
    "go(?:es)? on": "continues",
    "looked at": "inspected",
    "sent back": "replayed",
    "learnt|taught|foretold": "fitted, trained on, predicted",
    "of whom": "the noun",
    "in silence": "without an error",
    "what is none": "the noun",
    "of its own making": "its own",
    "by turns": "alternately",
    "comes? of|came of": "results",
    "signs? of life": "heartbeat",
}
"""Pattern of a phrase -> what to write instead. A blank matches any white space."""

PHRASES = {
    re.compile(rf"\b(?:{phrase})\b".replace(" ", r"\s+"), re.IGNORECASE): instead for phrase, instead in INSTEAD.items()
}
SENTENCE_WORDS_MAX = 25

FENCED = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
GENERATED = re.compile(r"<!-- begin (\w+) -->.*?<!-- end \1 -->", re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")
ITEM = re.compile(r"(?:[-*]|\d+\.)\s+")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
END = re.compile(r"(?<=[.!?:])[\"”)*_]*\s+(?=[\"“*_(]*\w)")
OTHER = ("Makefile", "Dockerfile", ".env.example", "docker-compose.yml", "pyproject.toml", "docs/prometheus-rules.yml")
"""Files with comments that are neither Python nor Markdown."""


def blanked(match: re.Match[str]) -> str:
    """Return a match with a dot for each character, so that positions and line numbers stay."""
    return re.sub(r"[^\n]", "·", match[0])


def refusals(text: str, line: int = 1) -> list[str]:
    """Return a line for each refused phrase in a text that begins on a line."""
    prose = CODE.sub(blanked, FENCED.sub(blanked, text))
    return [
        f"line {line + prose.count(chr(10), 0, match.start())}: {' '.join(match[0].split())}: write {instead}"
        for phrase, instead in PHRASES.items()
        for match in phrase.finditer(prose)
    ]


def python_texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each comment and of each string that is more than a word."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def refused_in(path: Path) -> list[str]:
    """Return the refusals of a file, each with the name of the file."""
    text = path.read_text("utf-8")
    texts = python_texts(text) if path.suffix == ".py" else [(1, text)]
    return [f"{name_of(path)} {refusal}" for line, part in texts for refusal in refusals(part, line)]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_holds_no_refused_phrase(package: str) -> None:
    texts = {*sources(), *(path for path in package_files() if path.suffix in (".yaml", ".js", ".html"))}
    paths = sorted(path for path in texts if path.relative_to(ROOT).parts[0] == package)
    assert paths
    assert not [refusal for path in paths for refusal in refused_in(path)]


def test_documents_and_scripts_hold_no_refused_phrase() -> None:
    programs = [path for path in scripts() if path.relative_to(ROOT).parts[0] != "tests"]
    paths = [*documents(), *programs, *(ROOT / "notebooks").glob("*.py"), *(ROOT / name for name in OTHER)]
    assert not [refusal for path in paths for refusal in refused_in(path)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Whoever reads", ["line 1: Whoever: write the subject: each user, any process"]),
        ("a\nworker is\ntold", ["line 3: told: write receives, is configured, is reported"]),
        ("the one\nbefore", ["line 1: the one before: write the previous one"]),
        ("replays the letters of a run", ["line 1: the letters: write dead letter"]),
        ("the dead letters; begins with a letter or digit", []),
        ("`anew` is a field\n```text\nbeside\n```\n", []),
        ("a stand-in stands for it; the disk stands still", []),
        ("the name stands in the file", ["line 1: stands: write is, is in, contains, is committed"]),
    ],
)
def test_a_phrase_is_refused_with_the_replacement(text: str, expected: list[str]) -> None:
    assert refusals(text) == expected


def test_python_is_searched_in_docstrings_comments_and_messages_but_not_in_names() -> None:
    source = '"""Reads anew."""\nanew = "anew"\nf(f"made anew: {anew}")  # of late\n'
    lines = [refusal.partition(": write")[0] for line, text in python_texts(source) for refusal in refusals(text, line)]
    assert sorted(lines) == ["line 1: anew", "line 3: anew", "line 3: of late"]


# --- sentences --------------------------------------------------------------------------------------------------------
def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield the first line and text of each paragraph and list item, without tables, code and generated parts.

    A line with two blanks in succession is part of a table.
    """
    first, lines = 0, list[str]()
    for number, line in enumerate([*GENERATED.sub(blanked, FENCED.sub(blanked, text)).splitlines(), ""], 1):
        item = ITEM.match(line.strip())
        other = line.lstrip().startswith(("|", "#", "!", "<", "·")) or "  " in line.strip()
        if not line.strip() or item or other or (line.startswith("    ") and not lines):
            if lines:
                yield first, " ".join(lines)
            first, lines = number, [line.strip()[item.end() :]] if item else []
        else:
            first = first if lines else number
            lines.append(line.strip())


def long_sentences(text: str) -> list[str]:
    """Return a line for each sentence, or part before a colon, of a text with too many words."""
    long = []
    for line, paragraph in paragraphs(text):
        for sentence in END.split(LINK.sub(r"\1", CODE.sub("code", paragraph))):
            count = sum(1 for word in sentence.split() if re.search(r"\w", word))
            if count > SENTENCE_WORDS_MAX:
                long.append(f"line {line}: {count} words: {sentence}")
    return long


@pytest.mark.parametrize("path", [path for path in documents() if path.stem != "CHANGELOG"], ids=name_of)
def test_no_sentence_of_a_document_but_the_changelog_is_too_long(path: Path) -> None:
    assert long_sentences(path.read_text("utf-8")) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_sentence_of_a_docstring_is_too_long(package: str) -> None:
    long = [
        f"{name_of(path)} line {getattr(node, 'lineno', 1)}: {sentence}"
        for path in sources()
        if path.relative_to(ROOT).parts[0] == package
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for sentence in long_sentences(ast.get_docstring(node) or "")
    ]
    assert not long


def test_a_long_sentence_is_refused_but_not_a_long_table_or_code() -> None:
    words = "word " * 26
    assert long_sentences(f"# T\n\nShort.\n- an item\n- {words}\n") == [f"line 5: 26 words: {words.strip()}"]
    assert long_sentences(f"| {words} |\n\n```sh\n{words}\n```\n{'word ' * 25}.\n\n    {words}\n") == []
