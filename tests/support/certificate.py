"""A certificate of a server named localhost, for whoever is to trust it, and for who is not."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest


def localhost(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """Return what the server needs, and the certificate to trust, in *directory*."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-keyout", key, "-out", certificate),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate
