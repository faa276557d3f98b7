"""Where Polars moves what does not fit into memory: a folder that our containers may write."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from compose.reading import ROOT


def test_polars_spills_to_a_writable_folder(composed, tmp_path):
    """Its default is /var/tmp, on the root file system; the name is tried on the Polars that is installed."""
    name = "POLARS_OOC_SPILL_DIR"
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    (default,) = re.findall(rf"^ +{name}=(\S+)$", dockerfile, re.MULTILINE)
    for service, one in composed.services.items():
        if not one.ours:
            continue
        spill = str(one.environment.get(name, default))
        writable = [*one.mounts.values(), *(path.split(":")[0] for path in one.tmpfs)]
        assert any(spill.startswith(f"{path}/") for path in writable), service
    sort = (
        "import polars as pl; n = 1_000_000; "
        "pl.LazyFrame({'a': pl.arange(n, 0, -1, eager=True)}).with_columns(s=pl.col('a').cast(str))"
        ".sort('s').collect(engine='streaming')"
    )
    spill = tmp_path / "spill"
    environment = {"PATH": os.environ["PATH"], name: str(spill), "POLARS_OOC_MEMORY_BUDGET_MB": "5"}
    done = subprocess.run([sys.executable, "-c", sort], env=environment, capture_output=True, text=True, check=True)
    assert spill.is_dir()
    assert "panicked" not in done.stderr
