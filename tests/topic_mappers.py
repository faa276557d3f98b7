"""Mappers of topics by the settings, as `map check` opens them."""

import time

from producers.importing.mapping import parse_mapping
from producers.topic_mapping.ready import LoadedMapping
from shopstream.runtime.topic_mapper import open_mapper, registries_of
from shopstream.settings import guest_salt


def topic_mapper(text, settings, *, name="test", wait=time.sleep):
    loaded = LoadedMapping(text, f"{name}.yaml", parse_mapping(text, f"{name}.yaml"))
    registries = registries_of(settings, [loaded])
    return open_mapper(name, loaded.mapping, guest_salt(settings), registries, wait=wait)
