"""The Elasticsearch edge of runs: their templates, indices, and the aliases by which readers find them.

A *view* is what readers ask: the aliases `VIEW-INDEX` (`shop-customers`, `shop-events` ...). It is called like a run
and leads to the indices of that run, until another run is promoted to it. Workers never write through an alias, so a
promotion changes what readers see and nothing that is written.

What a view leads to is told by one index, the anchor. Templates, which give a new month its aliases, follow it
(`settle`).
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
"""The index whose alias tells which run a view leads to: it is there from a run's first moment, and never cut."""
TRIES: Final = 5
"""Of what somebody else may change meanwhile."""

Client = Elasticsearch
"""For those who hand a client on and are no edge themselves."""
Definitions = Sequence[IndexDefinition]


# --- making a run's indices -------------------------------------------------------------------------------------------


def install(client: Elasticsearch, run: str, definitions: Definitions, settings: IndexSettings | None = None) -> None:
    """Makes templates, aliases and fixed indices of `run`; doing it again changes nothing.

    New fields are added to indices that exist. A run whose view leads to another run by now does not take it back.

    Raises:
        UsageError: the run's name is not allowed.
        ShopstreamError: the server refuses, an index has a mapping that this schema cannot write to, or the name of an
            alias.
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
    """Looks for indices and data streams that have the name of an alias: no index of the run could get that alias.

    Raises:
        ShopstreamError: there is one.
    """
    for view in views:
        with failures_told(f"The indices of {view}"):
            # `indices.resolve_index` of the client is a POST, which older servers of version 9 refuse
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
    """Makes a run's templates, and the aliases of its indices, agree with the views that lead to it.

    Raises:
        ShopstreamError: the server refuses, or views change all the time.
    """
    for _ in range(TRIES):
        views = views_of(client, run)
        _put_templates(client, run, definitions, settings or IndexSettings(), views)
        _update_aliases(client, lambda: _corrections(client, run, definitions))
        # a promotion in between has read, or will write, what we have just put: look once more
        if views_of(client, run) == views:
            return
    raise ShopstreamError(f"What the aliases of run {run} lead to changes all the time.", "Promote one run at a time.")


def _corrections(client: Elasticsearch, run: str, definitions: Definitions) -> list[dict[str, Any]]:
    """What the indices of a run have too few or too many of the aliases of views. A user's own are left alone."""
    actions: list[dict[str, Any]] = []
    believed: set[tuple[str, str]] = set()
    views = views_of(client, run)
    mine = aliases_by_index(client, run, definitions)
    if write_index(run, ANCHOR) not in mine:
        return []  # it will be made, and get its aliases by its template
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
    """Two actions that change nothing, but refuse the call they stand in unless the view leads to the run."""
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
    """Deletes the indices and templates of `run` and of no other; returns the deleted indices.

    What is gone already is left out, so that it can be called again after a failure.

    Raises:
        UsageError: the run's name is not allowed.
        ShopstreamError: the server refuses.
    """
    check_run(run)
    mine = sorted(aliases_by_index(client, run, definitions))
    with failures_told(f"The indices of run {run}"):
        # one by one: a list of months may be longer than a URL
        for name in mine:
            client.options(ignore_status=404).indices.delete(index=name)
        for definition in definitions:
            client.options(ignore_status=404).indices.delete_index_template(name=template_name(run, definition))
    return tuple(mine)


# --- what stands there ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """An index of a run, its months together.

    Attributes:
        run: whose it is.
        name: without the run: `events`.
        parts: its concrete indices.
        documents: in all of them, as of the last refresh.
        size_bytes: on disk, copies included.
        aliases: that lead to all of its parts.
    """

    run: str
    name: str
    parts: tuple[str, ...]
    documents: int
    size_bytes: int
    aliases: tuple[str, ...]


def stored_indices(client: Elasticsearch, names: Sequence[str]) -> list[StoredIndex]:
    """Every index of every run, by run and name.

    Args:
        client: of the server.
        names: of the indices that a run may have, without the run.
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
    """Searchable documents of each index that a run has, counted now, whatever its view leads to."""
    parts = aliases_by_index(client, run, definitions)
    with failures_told(f"The documents of run {run}"):
        counts: dict[str, int] = {}
        for definition in definitions:
            # months one by one: a list of them may be longer than a URL
            mine = [name for name in parts if belongs_to(run, definition.name, name)]
            for name in mine:
                client.indices.refresh(index=name)
            if mine:
                counts[definition.name] = sum(int(client.count(index=name)["count"]) for name in mine)
    return counts


def aliases_by_index(client: Elasticsearch, run: str, definitions: Definitions) -> dict[str, frozenset[str]]:
    """Each concrete index of a run with its aliases."""
    with failures_told(f"The indices of run {run}"):
        found = client.indices.get_alias(index=index_name(run, "*"), expand_wildcards="all")
        return {
            name: frozenset(entry["aliases"])
            for name, entry in found.items()
            if any(belongs_to(run, definition.name, name) for definition in definitions)
        }


# --- views ------------------------------------------------------------------------------------------------------------


def views_of(client: Elasticsearch, run: str) -> tuple[str, ...]:
    """The views that lead to a run, sorted; its own is one of them unless another run was promoted to it."""
    anchor = write_index(run, ANCHOR)
    with failures_told(f"The aliases of run {run}"):
        found = client.options(ignore_status=404).indices.get_alias(index=anchor)
        if anchor in found:
            return tuple(sorted(a.removesuffix(f"-{ANCHOR}") for a in found[anchor]["aliases"]))
        taken = bool(client.indices.exists_alias(name=alias(run, ANCHOR)))
        return () if taken else (run,)


def views(client: Elasticsearch) -> tuple[str, ...]:
    """Every view that leads to a run, sorted."""
    with failures_told("The aliases"):
        found = client.options(ignore_status=404).indices.get_alias(name=alias("*", ANCHOR))
    given = {name for entry in found.values() if isinstance(entry, dict) for name in entry.get("aliases", ())}
    return tuple(sorted(name.removesuffix(f"-{ANCHOR}") for name in given))


def is_visible(client: Elasticsearch, view: str, definitions: Definitions) -> bool:
    """Whether readers of a view find any of its indices."""
    names = [alias(view, definition.name) for definition in definitions]
    with failures_told(f"The aliases of {view}"):
        return bool(client.indices.get_alias(index=names, ignore_unavailable=True, expand_wildcards="all"))


def run_behind(client: Elasticsearch, view: str) -> str | None:
    """The run that a view leads to; None when there is no such view.

    Raises:
        ShopstreamError: it leads to several.
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
    # an answer of 404 has an error beside what it found
    return sorted({whose[0] for name in found if (whose := owner(name, [ANCHOR])) is not None})


def promote(client: Elasticsearch, view: str, run: str, definitions: Definitions) -> None:
    """Makes a view lead to the indices of `run`, all aliases in one call.

    What if we die after each step:

    1. The templates of the present run no longer give the view's aliases. Dying: a month that it begins is not seen,
       until it is promoted or started again.
    2. All aliases move, in one change of the cluster's state. Dying: a month that the new run begins is not seen,
       until it is promoted or started again.
    3. The templates of the new run give the view's aliases; what was begun meanwhile is set right.

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
    """Takes the view's aliases from every index of another run and gives them to all of this one's."""
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
    """One call; made anew when an index has gone meanwhile."""
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
