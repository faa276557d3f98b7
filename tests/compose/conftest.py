from __future__ import annotations

import importlib.util

import pytest
from compose.reading import ROOT, loaded


@pytest.fixture(scope="session")
def env_tool():
    """tools/env.py, a script."""
    spec = importlib.util.spec_from_file_location("env_tool", ROOT / "tools" / "env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def given(env_tool):
    """What `make env` puts into .env."""
    return env_tool.settings(env_tool.filled((ROOT / ".env.example").read_text("utf-8"), ""))


@pytest.fixture(scope="session")
def composed(given):
    return loaded(given)
