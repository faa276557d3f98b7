"""The unprivileged account: which one, and what it can reach."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from features.errors import ShopstreamError
from shopstream.embedded import account as accounts
from shopstream.embedded.account import OWN_UIDS, ServerAccount, made_by, obstacle, reachable_folder, server_account

STRANGER = ServerAccount(uid=64_999, gid=64_999, name="stranger")
ABSENT = Path("/absent")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")


@pytest.fixture
def open_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that everybody can reach; pytest's own are private."""
    folder = tmp_path_factory.mktemp("open").resolve()
    root = Path(tempfile.gettempdir()).resolve()
    for path in (folder, *folder.parents):  # a worker of xdist has a folder more above its own
        if path.stat().st_uid == os.geteuid() and path.is_relative_to(root) and path != root:
            path.chmod(0o755)
    return folder


def test_only_root_switches_the_account() -> None:
    assert server_account(None, ABSENT, root=False) is None
    assert server_account("64999", ABSENT, root=False) is None


def test_new_folder_gets_an_unused_uid(monkeypatch: pytest.MonkeyPatch) -> None:
    account = server_account(None, ABSENT, root=True)
    assert account is not None
    assert account.uid == account.gid
    assert account.uid in OWN_UIDS
    taken = type("User", (), {"pw_uid": OWN_UIDS.start})
    monkeypatch.setattr(accounts.pwd, "getpwall", lambda: [taken])
    other = server_account(None, ABSENT, root=True)
    assert other is not None
    assert other.uid not in (OWN_UIDS.start, account.uid if account.uid == OWN_UIDS.start else 0)
    monkeypatch.setattr(accounts, "OWN_UIDS", range(OWN_UIDS.start, OWN_UIDS.start + 1))
    with pytest.raises(ShopstreamError, match="free") as caught:
        server_account(None, ABSENT, root=True)
    assert "RUN_AS" in caught.value.remedy


@as_root
def test_existing_folder_does_not_change_its_owner(tmp_path: Path) -> None:
    """As folders of format 1, which belong to nobody."""
    os.chown(tmp_path, 65_534, 65_534)
    account = server_account(None, tmp_path, root=True)
    assert account is not None
    assert account.uid == 65_534


def test_a_uid_needs_no_name() -> None:
    assert server_account("64999", ABSENT, root=True) == ServerAccount(64_999, 64_999, "uid 64999")


@pytest.mark.parametrize("name", ["root", "0", "no-such-user"])
def test_account_root_or_unknown_is_refused(name: str) -> None:
    with pytest.raises(ShopstreamError) as caught:
        server_account(name, ABSENT, root=True)
    assert "RUN_AS" in caught.value.remedy


def test_obstacle_is_the_first_closed_folder(open_path: Path) -> None:
    inner = open_path / "closed" / "inner"
    inner.mkdir(parents=True)
    assert obstacle(inner, STRANGER) is None
    inner.parent.chmod(0o700)
    assert obstacle(inner, STRANGER) == inner.parent
    assert obstacle(inner, ServerAccount(os.geteuid(), os.getegid(), "me")) is None
    inner.parent.chmod(0o755)


def test_folder_without_another_account_is_created_private(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "elasticsearch"
    assert reachable_folder(folder, None) == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@as_root
def test_reachable_home_holds_the_folder_itself(open_path: Path) -> None:
    folder = reachable_folder(open_path / "home" / "elasticsearch", STRANGER, shared=open_path / "shared")
    assert folder == open_path / "home" / "elasticsearch"
    status = folder.stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (STRANGER.uid, 0o700)
    assert not (open_path / "shared").exists()


@as_root
def test_closed_home_gets_a_permanent_linked_folder(open_path: Path) -> None:
    closed = open_path / "private"
    closed.mkdir(mode=0o700)
    path = closed / "home" / "elasticsearch"
    folder = reachable_folder(path, STRANGER, shared=open_path / "shared")
    assert folder.parent.parent == open_path / "shared"
    assert path.resolve() == folder.resolve()
    assert made_by(path.parent, folder, open_path / "shared")
    assert not made_by(closed / "copy", folder, open_path / "shared")
    (folder / "data").touch()
    assert reachable_folder(path, STRANGER, shared=open_path / "shared") == folder
    # deleted by hand: a new one, not the old data
    path.unlink()
    assert not (reachable_folder(path, STRANGER, shared=open_path / "shared") / "data").exists()


@as_root
def test_no_reachable_folder_is_an_error_with_the_remedy(open_path: Path) -> None:
    closed = open_path / "private"
    closed.mkdir(mode=0o700)
    with pytest.raises(ShopstreamError, match="cannot enter") as caught:
        reachable_folder(closed / "home" / "elasticsearch", STRANGER, shared=closed / "shared")
    assert f"chmod o+x {closed}" in caught.value.remedy
