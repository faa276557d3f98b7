"""A search over documents in memory, for the bodies of the work list: filters, order, pages, newest alerts."""

from __future__ import annotations

from connectors.elasticsearch.client import document_id


class PlayedSearch:
    """Answers the searches of the work list; counts those of customers."""

    def __init__(self, customers=(), contacts=(), alerts=()):
        self.documents = {"customers": list(customers), "contacts": list(contacts), "alerts": list(alerts)}
        self.batches = 0

    def __call__(self, index, body):
        matching = [one for one in self.documents.get(index, ()) if matches(one, body.get("query", {}))]
        if "aggs" in body and "customers" in body["aggs"]:
            newest = {}
            for one in matching:
                newest[one["customer_id"]] = max(newest.get(one["customer_id"], 0), one["ts"])
            buckets = [{"key": key, "newest": {"value": float(value)}} for key, value in newest.items()]
            return {"aggregations": {"customers": {"buckets": buckets}}}
        self.batches += index == "customers" and body["size"] > 0
        keys = [(one, sort_key(one, body.get("sort", ()))) for one in matching]
        keys.sort(key=lambda pair: pair[1])
        if after := body.get("search_after"):
            keys = [(one, key) for one, key in keys if key > sort_values(after, body["sort"])]
        hits = [
            {"_source": one, "_id": one["customer_id"], "_seq_no": 4, "_primary_term": 1, "sort": values(one, body)}
            for one, _ in keys[: body["size"]]
        ]
        return {"hits": {"total": {"value": len(matching)}, "hits": hits}}

    def many(self, searches):
        return [self(index, body) for index, body in searches]


def parts(sort):
    for one in sort:
        ((field, how),) = one.items()
        how = how if isinstance(how, dict) else {"order": how}
        yield field, how["order"], how.get("missing")


def values(document, body):
    return [
        missing if document.get(field) is None else document[field] for field, _, missing in parts(body.get("sort", ()))
    ]


def sort_values(found, sort):
    return tuple(-one if order == "desc" else one for one, (_, order, _) in zip(found, parts(sort), strict=True))


def sort_key(document, sort):
    return sort_values(values(document, {"sort": sort}), sort)


def matches(document, query):
    boolean = query.get("bool", {})
    return all(holds(document, one) for one in boolean.get("filter", ())) and not any(
        holds(document, one) for one in boolean.get("must_not", ())
    )


def holds(document, clause):
    ((kind, what),) = clause.items()
    if kind == "bool":
        return matches(document, clause)
    if kind == "exists":
        return document.get(what["field"]) is not None
    if kind == "ids":
        return document_id(document["customer_id"]) in what["values"]
    ((field, bound),) = what.items()
    value = document.get(field)
    if value is None:
        return False
    if kind in ("terms", "term"):
        return value in (bound if kind == "terms" else [bound])
    tests = {"lte": value.__le__, "gt": value.__gt__, "gte": value.__ge__, "lt": value.__lt__}
    return all(tests[name](limit) for name, limit in bound.items())
