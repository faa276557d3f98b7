"""Manages a run's templates and indices, and the aliases under which readers find them.

An *alias set* holds the aliases that readers query: `SET-INDEX` (`shop-customers`, `shop-events` ...). It is named like
a run and points to the indices of that run until another run is promoted to it. Workers never write through an alias,
so a promotion changes what readers see but not what is written.

The alias of one index, the anchor index, decides which run an alias set points to. Templates, which give a new month
its aliases, follow the anchor index (`reconcile`).

Elasticsearch with users replaces a pattern of indices, or none, by names before it reads them. An index of any run that
is deleted in between makes a 404 of the whole request, unless `ignore_unavailable` is set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import elasticsearch
from elasticsearch import Elasticsearch

from connectors.elasticsearch.client import translate_errors
from connectors.elasticsearch.mappings import (
    IndexDefinition,
    IndexSettings,
    alias,
    belongs_to,
    mapping,
    owner,
    template,
    template_name,
    write_index,
)
from features.errors import ShopstreamError
from features.schema import SCHEMA_VERSION, check_run, index_name

ANCHOR_INDEX: Final = "customers"
"""Index whose alias decides which run an alias set points to. Exists from a run's start, not split by month."""
ATTEMPTS: Final = 5
"""Attempts to change state that another process may change concurrently."""

Client = Elasticsearch
"""Client type for modules that only pass a client on."""
Definitions = Sequence[IndexDefinition]


# --- creating a run's indices -----------------------------------------------------------------------------------------


def install(client: Elasticsearch, run: str, definitions: Definitions, settings: IndexSettings | None = None) -> None:
    """Create the templates, aliases and fixed indices of `run`; idempotent.

    New fields are added to existing indices, whose times keep their formats. If the run's alias set points to another
    run by now, it stays there.

    Raises:
        UsageError: the run's name is not allowed.
        ShopstreamError: the server refuses, an index has an incompatible mapping, or an index has the name of an alias.
    """
    check_run(run)
    check_names(client, alias_sets_of(client, run), definitions)
    reconcile(client, run, definitions, settings)
    existing = aliases_by_index(client, run, definitions)
    for definition in definitions:
        existing_parts = [name for name in existing if belongs_to(run, definition.name, name)]
        if existing_parts:
            _extend(client, existing_parts, definition)
        elif not definition.monthly:
            _create(client, write_index(run, definition.name))


def check_names(client: Elasticsearch, alias_sets: Sequence[str], definitions: Definitions) -> None:
    """Check that no index or data stream has the name of an alias. The run's indices could not get that alias.

    Raises:
        ShopstreamError: a name is taken.
    """
    for alias_set in alias_sets:
        with translate_errors(f"The indices of {alias_set}"):
            # `indices.resolve_index` of the client sends a POST, which older 9.x servers refuse
            path, accept = f"/_resolve/index/{index_name(alias_set, '*')}", {"accept": "application/json"}
            resolved = client.perform_request("GET", path, params={"expand_wildcards": "all"}, headers=accept).body
        taken = {entry["name"] for kind in ("indices", "data_streams") for entry in resolved[kind]}
        wrong = sorted(taken & {alias(alias_set, definition.name) for definition in definitions})
        if wrong:
            raise ShopstreamError(
                f"The index {wrong[0]} has the name of a read alias, so the run cannot write its documents.",
                "If you need its documents, copy them to another index (POST /_reindex). Then delete it "
                f"(DELETE /{wrong[0]}) and start again.",
            )


def reconcile(client: Elasticsearch, run: str, definitions: Definitions, settings: IndexSettings | None = None) -> None:
    """Align a run's templates, and the aliases of its indices, with the alias sets that point to it.

    Raises:
        ShopstreamError: the server refuses, or the alias sets keep changing.
    """
    for _ in range(ATTEMPTS):
        alias_sets = alias_sets_of(client, run)
        _put_templates(client, run, definitions, settings or IndexSettings(), alias_sets)
        _update_aliases(client, lambda: _corrections(client, run, definitions))
        # a concurrent promotion may have read, or may overwrite, these templates: check once more
        if alias_sets_of(client, run) == alias_sets:
            return
    raise ShopstreamError(f"The aliases of run {run} keep changing.", "Promote one run at a time.")


def _corrections(client: Elasticsearch, run: str, definitions: Definitions) -> list[dict[str, Any]]:
    """Return the alias actions that add missing aliases and remove surplus ones. User-defined aliases stay."""
    actions: list[dict[str, Any]] = []
    assumed: set[tuple[str, str]] = set()
    alias_sets = alias_sets_of(client, run)
    aliases_of_run = aliases_by_index(client, run, definitions)
    if write_index(run, ANCHOR_INDEX) not in aliases_of_run:
        return []  # the index does not exist yet; its template gives it the aliases
    for name, given in aliases_of_run.items():
        index = next(d.name for d in definitions if belongs_to(run, d.name, name))
        if index == ANCHOR_INDEX:
            continue
        expected = {alias(alias_set, index): alias_set for alias_set in alias_sets}
        for missing in sorted(expected.keys() - given):
            assumed.add((expected[missing], run))
            actions.append({"add": {"index": name, "alias": missing}})
        for other in sorted(given - expected.keys()):
            alias_set = other.removesuffix(f"-{index}")
            runs = _runs_of_alias_set(client, alias_set) if alias_set != other else []
            if runs and run not in runs:
                assumed.add((alias_set, runs[0]))
                actions.append({"remove": {"index": name, "alias": other, "must_exist": False}})
    return [*(action for alias_set, holder in sorted(assumed) for action in _only_if(alias_set, holder)), *actions]


def _only_if(alias_set: str, run: str) -> tuple[dict[str, Any], ...]:
    """Return two actions that change nothing but make the whole call fail unless the alias set points to the run."""
    anchor_alias = {"index": write_index(run, ANCHOR_INDEX), "alias": alias(alias_set, ANCHOR_INDEX)}
    return {"remove": {**anchor_alias, "must_exist": True}}, {"add": anchor_alias}


def _put_templates(
    client: Elasticsearch, run: str, definitions: Definitions, settings: IndexSettings, alias_sets: Sequence[str]
) -> None:
    with translate_errors(f"The index templates of run {run}"):
        for definition in definitions:
            _put_template(client, template_name(run, definition), template(run, definition, settings, alias_sets))


def _put_template(client: Elasticsearch, name: str, body: Mapping[str, Any]) -> None:
    arguments = {("meta" if word == "_meta" else word): value for word, value in body.items()}
    client.indices.put_index_template(name=name, **arguments)


def _create(client: Elasticsearch, name: str) -> None:
    with translate_errors(f"The index {name}"):
        try:
            client.indices.create(index=name, wait_for_active_shards=1)
        except elasticsearch.BadRequestError as error:
            if "resource_already_exists" not in str(error.message):
                raise


def _extend(client: Elasticsearch, names: Sequence[str], definition: IndexDefinition) -> None:
    expected = mapping(definition)
    with translate_errors(f"The mapping of {names[0]}"):
        existing = _checked_mappings(client, names)
        groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for name in names:
            groups.setdefault(_time_formats(existing[name]), []).append(name)
        for formats, group in groups.items():
            # the server refuses another format of a field: a time in an index from before the change keeps its own
            unchanged = {name: {**expected["properties"][name], "format": form} for name, form in formats
                         if expected["properties"].get(name, {}).get("type") == "date"}  # fmt: skip
            try:
                client.indices.put_mapping(
                    index=group,
                    properties={**expected["properties"], **unchanged},
                    dynamic=expected["dynamic"],
                    # a note of another part, such as the calendar of trends, stays
                    meta={**existing[group[-1]]["_meta"], **expected["_meta"]},
                )
            except elasticsearch.BadRequestError as error:
                raise ShopstreamError(
                    f"The index {group[0]} was created with another schema: {error.message}: {_reason(error)}.",
                    "Use a new run (`--run NAME`) and promote it after it has caught up.",
                ) from error


def _time_formats(mappings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the names of the fields with a format, and the format."""
    properties = mappings.get("properties", {})
    return tuple((name, entry["format"]) for name, entry in sorted(properties.items()) if "format" in entry)


def _checked_mappings(client: Elasticsearch, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return the notes and formats of each index. Raises ShopstreamError for an index of another version."""
    response = client.indices.get_mapping(
        index=list(names), filter_path="*.mappings._meta,*.mappings.properties.*.format"
    )
    stored: dict[str, Mapping[str, Any]] = {name: entry["mappings"] for name, entry in response.body.items()}
    for name, mappings in sorted(stored.items()):
        version = mappings["_meta"]["schema_version"]
        if version != SCHEMA_VERSION:
            raise ShopstreamError(
                f"The index {name} is of schema version {version}, this program writes {SCHEMA_VERSION}.",
                "Replay the history into a new run (`--run NAME`) and promote it.",
            )
    return stored


def _reason(error: elasticsearch.ApiError) -> str:
    body = error.body
    details = body.get("error") if isinstance(body, Mapping) else None
    return str(details.get("reason", "")) if isinstance(details, Mapping) else str(body)


def drop(client: Elasticsearch, run: str, definitions: Definitions) -> tuple[str, ...]:
    """Delete the indices and templates of `run` and of no other run. Return the deleted indices.

    Missing parts are skipped, so the function can be called again after a failure.

    Raises:
        UsageError: the run's name is not allowed.
        ShopstreamError: the server refuses.
    """
    check_run(run)
    indices = sorted(aliases_by_index(client, run, definitions))
    with translate_errors(f"The indices of run {run}"):
        # one by one: a list of months may exceed the maximum length of a URL
        for name in indices:
            client.options(ignore_status=404).indices.delete(index=name)
        for definition in definitions:
            client.options(ignore_status=404).indices.delete_index_template(name=template_name(run, definition))
    return tuple(indices)


# --- contents ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """One index of a run, with all its months.

    Attributes:
        run: name of the run.
        name: index name without the run: `events`.
        parts: concrete indices.
        documents: documents in all parts, as of the last refresh.
        size_bytes: size on disk, replicas included.
        aliases: aliases that point to all parts.
    """

    run: str
    name: str
    parts: tuple[str, ...]
    documents: int
    size_bytes: int
    aliases: tuple[str, ...]


def stored_indices(client: Elasticsearch, names: Sequence[str]) -> list[StoredIndex]:
    """Return every index of every run, sorted by run and name.

    An index that is deleted meanwhile is not part of the list.

    Args:
        client: Elasticsearch client.
        names: index names that a run may have, without the run.
    """
    with translate_errors("The list of indices"):
        # `indices.stats` of the client has no parameter `ignore_unavailable`
        stats = client.perform_request(
            "GET", "/*-*/_stats/docs,store", headers={"accept": "application/json"},
            params={
                "ignore_unavailable": "true",
                "filter_path": "indices.*.primaries.docs.count,indices.*.total.store.size_in_bytes",
            },
        ).body.get("indices", {})  # fmt: skip
        known = client.indices.get_alias(index="*-*", expand_wildcards="all", ignore_unavailable=True)
    parts: dict[tuple[str, str], list[str]] = {}
    for concrete in sorted(known):
        if (index_owner := owner(concrete, names)) is not None:
            parts.setdefault(index_owner, []).append(concrete)
    return [
        StoredIndex(
            run,
            name,
            tuple(indices),
            sum(int(stats[part]["primaries"]["docs"]["count"]) for part in indices if part in stats),
            sum(int(stats[part]["total"]["store"]["size_in_bytes"]) for part in indices if part in stats),
            tuple(sorted(set.intersection(*(set(known[part]["aliases"]) for part in indices)))),
        )
        for (run, name), indices in sorted(parts.items())
    ]


def count_documents(client: Elasticsearch, run: str, definitions: Definitions) -> dict[str, int]:
    """Count the searchable documents of each index of a run, whatever its alias set points to."""
    parts = aliases_by_index(client, run, definitions)
    with translate_errors(f"The documents of run {run}"):
        counts: dict[str, int] = {}
        for definition in definitions:
            # months one by one: a list of them may exceed the maximum length of a URL
            indices = [name for name in parts if belongs_to(run, definition.name, name)]
            for name in indices:
                client.indices.refresh(index=name)
            if indices:
                counts[definition.name] = sum(int(client.count(index=name)["count"]) for name in indices)
    return counts


def aliases_by_index(client: Elasticsearch, run: str, definitions: Definitions) -> dict[str, frozenset[str]]:
    """Return the aliases of each concrete index of a run."""
    with translate_errors(f"The indices of run {run}"):
        entries = client.indices.get_alias(index=index_name(run, "*"), expand_wildcards="all", ignore_unavailable=True)
        return {
            name: frozenset(entry["aliases"])
            for name, entry in entries.items()
            if any(belongs_to(run, definition.name, name) for definition in definitions)
        }


# --- alias sets -------------------------------------------------------------------------------------------------------


def alias_sets_of(client: Elasticsearch, run: str) -> tuple[str, ...]:
    """Return the alias sets that point to a run, sorted; the run's own too unless another run was promoted to it."""
    anchor = write_index(run, ANCHOR_INDEX)
    with translate_errors(f"The aliases of run {run}"):
        entries = client.options(ignore_status=404).indices.get_alias(index=anchor)
        if anchor in entries:
            return tuple(sorted(a.removesuffix(f"-{ANCHOR_INDEX}") for a in entries[anchor]["aliases"]))
        taken = bool(client.indices.exists_alias(name=alias(run, ANCHOR_INDEX), ignore_unavailable=True))
        return () if taken else (run,)


def alias_sets(client: Elasticsearch) -> tuple[str, ...]:
    """Return every alias set that points to a run, sorted."""
    with translate_errors("The aliases"):
        entries = client.options(ignore_status=404).indices.get_alias(
            name=alias("*", ANCHOR_INDEX), ignore_unavailable=True
        )
    given = {name for entry in entries.values() if isinstance(entry, dict) for name in entry.get("aliases", ())}
    return tuple(sorted(name.removesuffix(f"-{ANCHOR_INDEX}") for name in given))


def is_visible(client: Elasticsearch, alias_set: str, definitions: Definitions) -> bool:
    """Return whether an alias set has any index that readers can find."""
    names = [alias(alias_set, definition.name) for definition in definitions]
    with translate_errors(f"The aliases of {alias_set}"):
        return bool(client.indices.get_alias(index=names, ignore_unavailable=True, expand_wildcards="all"))


def run_of_alias_set(client: Elasticsearch, alias_set: str) -> str | None:
    """Return the run that an alias set points to, or None if the alias set does not exist.

    Raises:
        ShopstreamError: the alias set points to several runs.
    """
    runs = _runs_of_alias_set(client, alias_set)
    if len(runs) > 1:
        raise ShopstreamError(
            f"The alias {alias(alias_set, ANCHOR_INDEX)} points to several runs: {', '.join(runs)}.",
            f"Choose one of them: `shopstream promote NAME --run {alias_set}`.",
        )
    return runs[0] if runs else None


def _runs_of_alias_set(client: Elasticsearch, alias_set: str) -> list[str]:
    with translate_errors(f"The aliases of {alias_set}"):
        entries = client.options(ignore_status=404).indices.get_alias(
            name=alias(alias_set, ANCHOR_INDEX), ignore_unavailable=True
        )
    # a 404 response holds an error next to the aliases that were found
    return sorted({index_owner[0] for name in entries if (index_owner := owner(name, [ANCHOR_INDEX])) is not None})


def promote(client: Elasticsearch, alias_set: str, run: str, definitions: Definitions) -> None:
    """Point an alias set at the indices of `run`, with all aliases in one call.

    Result of a crash after each step:

    1. The templates of the present run no longer give the set's aliases. Crash: a month that the present run begins is
       invisible until the run is promoted or started again.
    2. All aliases move, in one change of the cluster's state. Crash: a month that the new run begins is invisible until
       the run is promoted or started again.
    3. The templates of the new run give the set's aliases. Indices created in between are corrected.

    Raises:
        ShopstreamError: the run has no indices, or the server refuses.
    """
    if write_index(run, ANCHOR_INDEX) not in aliases_by_index(client, run, definitions):
        raise ShopstreamError(f"Run {run} has no indices.", f"Run `shopstream consume --run {run}` first.")
    before = [name for name in _runs_of_alias_set(client, alias_set) if name != run]
    for name in before:
        rest = tuple(v for v in alias_sets_of(client, name) if v != alias_set)
        _put_templates(client, name, definitions, IndexSettings(), rest)
    _update_aliases(client, lambda: _moves(client, alias_set, run, definitions))
    reconcile(client, run, definitions)
    for name in before:
        reconcile(client, name, definitions)


def _moves(client: Elasticsearch, alias_set: str, run: str, definitions: Definitions) -> list[dict[str, Any]]:
    """Return the actions that move the aliases of a set from the indices of other runs to all indices of this run."""
    indices = aliases_by_index(client, run, definitions)
    names = [alias(alias_set, definition.name) for definition in definitions]
    with translate_errors(f"The aliases of {alias_set}"):
        known = client.options(ignore_status=404).indices.get_alias(
            name=names, expand_wildcards="all", ignore_unavailable=True
        )
    present = {
        name: entry["aliases"] for name, entry in known.items() if isinstance(entry, dict) and "aliases" in entry
    }
    away = [
        {"remove": {"index": name, "alias": given, "must_exist": False}}
        for name, aliases in present.items()
        if name not in indices
        for given in aliases
    ]
    here = [
        {"add": {"index": name, "alias": alias(alias_set, definition.name)}}
        for name in indices
        for definition in definitions
        if belongs_to(run, definition.name, name)
    ]
    return [*away, *here]


def _update_aliases(client: Elasticsearch, actions_now: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
    """Update the aliases in one call. Recompute the actions when an index was deleted concurrently."""
    for last in (*[False] * (ATTEMPTS - 1), True):
        actions = actions_now()
        if not actions:
            return
        with translate_errors("The aliases"):
            try:
                _send_actions(client, actions)
            except elasticsearch.NotFoundError:
                if last:
                    raise
            else:
                return


def _send_actions(client: Elasticsearch, actions: Sequence[Mapping[str, Any]]) -> None:
    client.indices.update_aliases(actions=actions)
