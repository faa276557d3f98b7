"""Manages a run's templates and indices, and the aliases under which readers find them.

A *view* is the set of aliases that readers query: `VIEW-INDEX` (`shop-customers`, `shop-events` ...). It is named like
a run and points to the indices of that run until another run is promoted to it. Workers never write through an alias,
so a promotion changes what readers see but not what is written.

The alias of one index, the anchor, decides which run a view points to. Templates, which give a new month its aliases,
follow the anchor (`settle`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import elasticsearch
from elasticsearch import Elasticsearch

from connectors.elasticsearch.client import failures_told
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
from features.schema import check_run, index_name

ANCHOR: Final = "customers"
"""The index whose alias decides which run a view points to. It exists from a run's start and is not split by month."""
TRIES: Final = 5
"""Attempts to change state that another process may change concurrently."""

Client = Elasticsearch
"""Client type for modules that only pass a client on."""
Definitions = Sequence[IndexDefinition]


# --- creating a run's indices -----------------------------------------------------------------------------------------


def install(client: Elasticsearch, run: str, definitions: Definitions, settings: IndexSettings | None = None) -> None:
    """Create the templates, aliases and fixed indices of `run`; idempotent.

    New fields are added to existing indices. If the run's view points to another run by now, it stays there.

    Raises:
        UsageError: the run's name is not allowed.
        ShopstreamError: the server refuses, an index has an incompatible mapping, or an index has the name of an alias.
    """
    check_run(run)
    check_names(client, views_of(client, run), definitions)
    settle(client, run, definitions, settings)
    existing = aliases_by_index(client, run, definitions)
    for definition in definitions:
        found = [name for name in existing if belongs_to(run, definition.name, name)]
        if found:
            _extend(client, found, definition)
        elif not (definition.monthly or definition.on_demand):
            _make(client, write_index(run, definition.name))


def check_names(client: Elasticsearch, views: Sequence[str], definitions: Definitions) -> None:
    """Check that no index or data stream has the name of an alias. The run's indices could not get that alias.

    Raises:
        ShopstreamError: a name is taken.
    """
    for view in views:
        with failures_told(f"The indices of {view}"):
            # `indices.resolve_index` of the client sends a POST, which older 9.x servers refuse
            path, accept = f"/_resolve/index/{index_name(view, '*')}", {"accept": "application/json"}
            found = client.perform_request("GET", path, params={"expand_wildcards": "all"}, headers=accept).body
        taken = {entry["name"] for kind in ("indices", "data_streams") for entry in found[kind]}
        wrong = sorted(taken & {alias(view, definition.name) for definition in definitions})
        if wrong:
            raise ShopstreamError(
                f"The index {wrong[0]} has the name of an alias that readers use, so no document of it can be written.",
                "If you need what it holds, copy it to another name (POST /_reindex). Then delete it "
                f"(DELETE /{wrong[0]}) and start again.",
            )


def settle(client: Elasticsearch, run: str, definitions: Definitions, settings: IndexSettings | None = None) -> None:
    """Align a run's templates, and the aliases of its indices, with the views that point to it.

    Raises:
        ShopstreamError: the server refuses, or the views keep changing.
    """
    for _ in range(TRIES):
        views = views_of(client, run)
        _put_templates(client, run, definitions, settings or IndexSettings(), views)
        _update_aliases(client, lambda: _corrections(client, run, definitions))
        # a concurrent promotion may have read, or may overwrite, these templates: check once more
        if views_of(client, run) == views:
            return
    raise ShopstreamError(f"What the aliases of run {run} lead to changes all the time.", "Promote one run at a time.")


def _corrections(client: Elasticsearch, run: str, definitions: Definitions) -> list[dict[str, Any]]:
    """Return the alias actions that add missing aliases of views and remove surplus ones. User-defined aliases stay."""
    actions: list[dict[str, Any]] = []
    believed: set[tuple[str, str]] = set()
    views = views_of(client, run)
    mine = aliases_by_index(client, run, definitions)
    if write_index(run, ANCHOR) not in mine:
        return []  # the index does not exist yet; its template gives it the aliases
    for name, given in mine.items():
        index = next(d.name for d in definitions if belongs_to(run, d.name, name))
        if index == ANCHOR:
            continue
        wanted = {alias(view, index): view for view in views}
        for missing in sorted(wanted.keys() - given):
            believed.add((wanted[missing], run))
            actions.append({"add": {"index": name, "alias": missing}})
        for other in sorted(given - wanted.keys()):
            view = other.removesuffix(f"-{index}")
            behind = _runs_behind(client, view) if view != other else []
            if behind and run not in behind:
                believed.add((view, behind[0]))
                actions.append({"remove": {"index": name, "alias": other, "must_exist": False}})
    return [*(action for view, holder in sorted(believed) for action in _only_if(view, holder)), *actions]


def _only_if(view: str, run: str) -> tuple[dict[str, Any], ...]:
    """Return two actions that change nothing but make the whole call fail unless the view points to the run."""
    place = {"index": write_index(run, ANCHOR), "alias": alias(view, ANCHOR)}
    return {"remove": {**place, "must_exist": True}}, {"add": place}


def _put_templates(
    client: Elasticsearch, run: str, definitions: Definitions, settings: IndexSettings, views: Sequence[str]
) -> None:
    with failures_told(f"The index templates of run {run}"):
        for definition in definitions:
            _put_template(client, template_name(run, definition), template(run, definition, settings, views))


def _put_template(client: Elasticsearch, name: str, body: Mapping[str, Any]) -> None:
    arguments = {("meta" if word == "_meta" else word): value for word, value in body.items()}
    client.indices.put_index_template(name=name, **arguments)


def _make(client: Elasticsearch, name: str) -> None:
    with failures_told(f"The index {name}"):
        try:
            client.indices.create(index=name, wait_for_active_shards=1)
        except elasticsearch.BadRequestError as error:
            if "resource_already_exists" not in str(error.message):
                raise


def _extend(client: Elasticsearch, names: Sequence[str], definition: IndexDefinition) -> None:
    wanted = mapping(definition)
    with failures_told(f"The mapping of {names[0]}"):
        try:
            client.indices.put_mapping(
                index=list(names), properties=wanted["properties"], dynamic=wanted["dynamic"], meta=wanted["_meta"]
            )
        except elasticsearch.BadRequestError as error:
            raise ShopstreamError(
                f"The index {names[0]} was made with another schema: {error.message}: {_reason(error)}.",
                "Use a new run (`--run NAME`) and promote it when it has caught up.",
            ) from error


def _reason(error: elasticsearch.ApiError) -> str:
    body = error.body
    found = body.get("error") if isinstance(body, Mapping) else None
    return str(found.get("reason", "")) if isinstance(found, Mapping) else str(body)


def drop(client: Elasticsearch, run: str, definitions: Definitions) -> tuple[str, ...]:
    """Delete the indices and templates of `run` and of no other run. Return the deleted indices.

    Missing parts are skipped, so the function can be called again after a failure.

    Raises:
        UsageError: the run's name is not allowed.
        ShopstreamError: the server refuses.
    """
    check_run(run)
    mine = sorted(aliases_by_index(client, run, definitions))
    with failures_told(f"The indices of run {run}"):
        # one by one: a list of months may exceed the maximum length of a URL
        for name in mine:
            client.options(ignore_status=404).indices.delete(index=name)
        for definition in definitions:
            client.options(ignore_status=404).indices.delete_index_template(name=template_name(run, definition))
    return tuple(mine)


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

    Args:
        client: Elasticsearch client.
        names: index names that a run may have, without the run.
    """
    with failures_told("The list of indices"):
        stats = client.indices.stats(
            index="*-*", metric=["docs", "store"],
            filter_path="indices.*.primaries.docs.count,indices.*.total.store.size_in_bytes",
        ).get("indices", {})  # fmt: skip
        known = client.indices.get_alias(index="*-*", expand_wildcards="all")
    parts: dict[tuple[str, str], list[str]] = {}
    for concrete in sorted(known):
        if (whose := owner(concrete, names)) is not None:
            parts.setdefault(whose, []).append(concrete)
    return [
        StoredIndex(
            run,
            name,
            tuple(mine),
            sum(int(stats[part]["primaries"]["docs"]["count"]) for part in mine if part in stats),
            sum(int(stats[part]["total"]["store"]["size_in_bytes"]) for part in mine if part in stats),
            tuple(sorted(set.intersection(*(set(known[part]["aliases"]) for part in mine)))),
        )
        for (run, name), mine in sorted(parts.items())
    ]


def count_documents(client: Elasticsearch, run: str, definitions: Definitions) -> dict[str, int]:
    """Count the searchable documents of each index of a run, whatever its view points to."""
    parts = aliases_by_index(client, run, definitions)
    with failures_told(f"The documents of run {run}"):
        counts: dict[str, int] = {}
        for definition in definitions:
            # months one by one: a list of them may exceed the maximum length of a URL
            mine = [name for name in parts if belongs_to(run, definition.name, name)]
            for name in mine:
                client.indices.refresh(index=name)
            if mine:
                counts[definition.name] = sum(int(client.count(index=name)["count"]) for name in mine)
    return counts


def aliases_by_index(client: Elasticsearch, run: str, definitions: Definitions) -> dict[str, frozenset[str]]:
    """Return the aliases of each concrete index of a run."""
    with failures_told(f"The indices of run {run}"):
        found = client.indices.get_alias(index=index_name(run, "*"), expand_wildcards="all")
        return {
            name: frozenset(entry["aliases"])
            for name, entry in found.items()
            if any(belongs_to(run, definition.name, name) for definition in definitions)
        }


# --- views ------------------------------------------------------------------------------------------------------------


def views_of(client: Elasticsearch, run: str) -> tuple[str, ...]:
    """Return the views that point to a run, sorted, including the run's own unless another run was promoted to it."""
    anchor = write_index(run, ANCHOR)
    with failures_told(f"The aliases of run {run}"):
        found = client.options(ignore_status=404).indices.get_alias(index=anchor)
        if anchor in found:
            return tuple(sorted(a.removesuffix(f"-{ANCHOR}") for a in found[anchor]["aliases"]))
        taken = bool(client.indices.exists_alias(name=alias(run, ANCHOR)))
        return () if taken else (run,)


def views(client: Elasticsearch) -> tuple[str, ...]:
    """Return every view that points to a run, sorted."""
    with failures_told("The aliases"):
        found = client.options(ignore_status=404).indices.get_alias(name=alias("*", ANCHOR))
    given = {name for entry in found.values() if isinstance(entry, dict) for name in entry.get("aliases", ())}
    return tuple(sorted(name.removesuffix(f"-{ANCHOR}") for name in given))


def is_visible(client: Elasticsearch, view: str, definitions: Definitions) -> bool:
    """Return whether a view has any index that readers can find."""
    names = [alias(view, definition.name) for definition in definitions]
    with failures_told(f"The aliases of {view}"):
        return bool(client.indices.get_alias(index=names, ignore_unavailable=True, expand_wildcards="all"))


def run_behind(client: Elasticsearch, view: str) -> str | None:
    """Return the run that a view points to, or None if the view does not exist.

    Raises:
        ShopstreamError: the view points to several runs.
    """
    runs = _runs_behind(client, view)
    if len(runs) > 1:
        raise ShopstreamError(
            f"The alias {alias(view, ANCHOR)} leads to several runs: {', '.join(runs)}.",
            f"Say which one it shall be: `shopstream promote NAME --run {view}`.",
        )
    return runs[0] if runs else None


def _runs_behind(client: Elasticsearch, view: str) -> list[str]:
    with failures_told(f"The aliases of {view}"):
        found = client.options(ignore_status=404).indices.get_alias(name=alias(view, ANCHOR))
    # a 404 response holds an error next to the aliases that were found
    return sorted({whose[0] for name in found if (whose := owner(name, [ANCHOR])) is not None})


def promote(client: Elasticsearch, view: str, run: str, definitions: Definitions) -> None:
    """Point a view at the indices of `run`, with all aliases in one call.

    What if we die after each step:

    1. The templates of the present run no longer give the view's aliases. Dying: a month that the present run begins is
       invisible until the run is promoted or started again.
    2. All aliases move, in one change of the cluster's state. Dying: a month that the new run begins is invisible until
       the run is promoted or started again.
    3. The templates of the new run give the view's aliases. Indices created in between are corrected.

    Raises:
        ShopstreamError: the run has no indices, or the server refuses.
    """
    if write_index(run, ANCHOR) not in aliases_by_index(client, run, definitions):
        raise ShopstreamError(f"Run {run} has no indices.", f"Run `shopstream consume --run {run}` first.")
    before = [name for name in _runs_behind(client, view) if name != run]
    for name in before:
        rest = tuple(v for v in views_of(client, name) if v != view)
        _put_templates(client, name, definitions, IndexSettings(), rest)
    _update_aliases(client, lambda: _moves(client, view, run, definitions))
    settle(client, run, definitions)
    for name in before:
        settle(client, name, definitions)


def _moves(client: Elasticsearch, view: str, run: str, definitions: Definitions) -> list[dict[str, Any]]:
    """Return the actions that move the view's aliases from the indices of other runs to all indices of this run."""
    mine = aliases_by_index(client, run, definitions)
    names = [alias(view, definition.name) for definition in definitions]
    with failures_told(f"The aliases of {view}"):
        known = client.options(ignore_status=404).indices.get_alias(name=names, expand_wildcards="all")
    held = {name: entry["aliases"] for name, entry in known.items() if isinstance(entry, dict) and "aliases" in entry}
    away = [
        {"remove": {"index": name, "alias": given, "must_exist": False}}
        for name, aliases in held.items()
        if name not in mine
        for given in aliases
    ]
    here = [
        {"add": {"index": name, "alias": alias(view, definition.name)}}
        for name in mine
        for definition in definitions
        if belongs_to(run, definition.name, name)
    ]
    return [*away, *here]


def _update_aliases(client: Elasticsearch, actions_now: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
    """Update the aliases in one call. Recompute the actions when an index was deleted concurrently."""
    for last in (*[False] * (TRIES - 1), True):
        actions = actions_now()
        if not actions:
            return
        with failures_told("The aliases"):
            try:
                _send_actions(client, actions)
            except elasticsearch.NotFoundError:
                if last:
                    raise
            else:
                return


def _send_actions(client: Elasticsearch, actions: Sequence[Mapping[str, Any]]) -> None:
    client.indices.update_aliases(actions=actions)
