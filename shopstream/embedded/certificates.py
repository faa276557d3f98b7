"""Makes the certificates of the secure embedded servers: one authority per data folder, which signs one certificate.

They are made once, by the key tool of the bundled Java runtime. The authority's private key is deleted after signing.
No second certificate that the clients of this folder trust can ever be made.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shopstream.embedded import ports
from shopstream.embedded.java import java_home
from shopstream.embedded.process import Launch, run

COMMON_NAME: Final = "shopstream"
"""Common name of the certificate; the broker's principal towards its own controller is `User:CN=shopstream`."""
VALID_DAYS: Final = 3_650
_KEY: Final = ("-keyalg", "EC", "-groupname", "secp256r1", "-validity", str(VALID_DAYS))


@dataclass(frozen=True, slots=True)
class Certificates:
    """TLS files of a server and its clients.

    Attributes:
        authority: PEM file that clients trust; no secret.
        keystore: PKCS 12 file with the server's key and certificate.
        password_file: file with the keystore's password.
    """

    authority: Path
    keystore: Path
    password_file: Path

    @classmethod
    def of(cls, home: Path) -> Certificates:
        """Return the paths for a data folder."""
        hidden = home / "secrets"
        return cls(home / "ca.pem", hidden / "server.p12", hidden / "keystore-password")

    @property
    def password(self) -> str:
        """Password of the keystore."""
        return read_secret(self.password_file)


def secret_file(path: Path) -> str:
    """Return the secret in a file; make a missing file with a new secret, readable by the current user only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    if not path.is_file():
        write_secret(path, secrets.token_urlsafe(24))
    return read_secret(path)


def write_secret(path: Path, text: str) -> None:
    """Write a new file that only the current user can read, from its creation on; replaces an existing one."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def read_secret(path: Path) -> str:
    """Read the single line of a secret's file. Raises OSError."""
    return path.read_text("utf-8").strip()


def make(home: Path) -> None:
    """Make the missing certificates of a data folder. One process, one thread at a time.

    Raises:
        ShopstreamError: the key tool failed.
    """
    files = Certificates.of(home)
    if files.authority.is_file() and files.keystore.is_file() and files.password_file.is_file():
        return
    secret_file(files.password_file)
    partial = files.keystore.with_name("partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    _make(partial, files.password_file)
    (partial / "ca.pem").chmod(0o644)
    (partial / "ca.pem").replace(files.authority)
    (partial / "server.p12").chmod(0o600)
    (partial / "server.p12").replace(files.keystore)
    partial.rmdir()


def _make(folder: Path, password_file: Path) -> None:
    java = str(java_home() / "bin" / "java")
    launch = Launch([], {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, folder, folder / "unused")
    store = ("-keystore", str(folder / "server.p12"), "-storetype", "PKCS12", "-storepass:file", str(password_file))

    def keytool(*arguments: str) -> None:
        run([java, "-m", "java.base/sun.security.tools.keytool.Main", *arguments, *store], launch)

    authority = ("-ext", "bc:c=ca:true,pathlen:0", "-ext", "ku:c=keyCertSign,cRLSign")
    keytool("-genkeypair", "-alias", "ca", "-dname", f"CN={COMMON_NAME}-ca", *_KEY, *authority)
    names = f"san=ip:{ports.LOOPBACK},dns:localhost"
    leaf = ("-ext", "ku:c=digitalSignature", "-ext", "eku=serverAuth,clientAuth", "-ext", names)
    keytool("-genkeypair", "-alias", "server", "-dname", f"CN={COMMON_NAME}", *_KEY, "-signer", "ca", *leaf)
    keytool("-exportcert", "-alias", "ca", "-rfc", "-file", str(folder / "ca.pem"))
    keytool("-delete", "-alias", "ca")
