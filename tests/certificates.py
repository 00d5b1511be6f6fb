"""A certificate in a file, as cert-manager keeps one in a Secret."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_LASTS = timedelta(days=90)


@dataclass(frozen=True)
class Certificate:
    """One that can be issued again and again.

    Attributes:
        file: what the Secret has as `tls.crt`.
    """

    namespace: str
    name: str
    file: Path

    def issue(self, ago: timedelta = timedelta()) -> None:
        """A new one, which was issued some time ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gliner.example")])
        began = datetime.now(timezone.utc) - ago
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + _LASTS)
            .sign(key, hashes.SHA256())
        )
        new = self.file.with_suffix(".new")
        new.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        # Whoever reads it meanwhile has one of the two.
        new.replace(self.file)

    @property
    def ends(self) -> float:
        """When it ends, as the certificate itself says."""
        found = x509.load_pem_x509_certificate(self.file.read_bytes())
        return found.not_valid_after_utc.timestamp()
