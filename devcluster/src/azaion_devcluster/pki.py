"""The cluster's own certificate authority and what it signs. No static tokens, no unchecked certificate.

Everything is made once and kept with the cluster's state; certificates that end soon are made anew on start.
"""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from azaion_devcluster import files

if TYPE_CHECKING:
    from pathlib import Path

_AUTHORITY_LIFE = timedelta(days=3650)
_CERTIFICATE_LIFE = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class Identity:
    """Who a client certificate says its bearer is: Kubernetes reads user and groups from it."""

    file: str
    user: str
    groups: tuple[str, ...] = ()


ADMIN = Identity("admin", "azaion:admin", ("system:masters",))
CONTROLLER_MANAGER = Identity("controller-manager", "system:kube-controller-manager")
SCHEDULER = Identity("scheduler", "system:kube-scheduler")
PROXY = Identity("proxy", "system:kube-proxy")
DNS = Identity("dns", "azaion:dns")
API_SERVER_TO_KUBELET = Identity("apiserver-kubelet", "azaion:apiserver-kubelet")


def node_identity(node: str) -> Identity:
    """The kubelet's identity: the node authorizer and NodeRestriction go by it."""
    return Identity("kubelet", f"system:node:{node}", ("system:nodes",))


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._key, self._certificate = self._load_or_make()

    @property
    def certificate(self) -> Path:
        return self._folder / "ca.crt"

    @property
    def key(self) -> Path:
        return self._folder / "ca.key"

    def path(self, file: str) -> Path:
        return self._folder / file

    def client(self, identity: Identity) -> tuple[Path, Path]:
        """Certificate and key for a client."""
        names = [x509.NameAttribute(NameOID.COMMON_NAME, identity.user)]
        names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in identity.groups]
        return self._signed(identity.file, x509.Name(names), ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def server(self, file: str, user: str, *, names: list[str], addresses: list[str]) -> tuple[Path, Path]:
        """Certificate and key for a server reached under these names and addresses."""
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)])
        return self._signed(file, subject, ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def service_account_keys(self) -> tuple[Path, Path]:
        """Private and public key of service account tokens."""
        private, public = self.path("service-accounts.key"), self.path("service-accounts.pub")
        if not (private.exists() and public.exists()):
            key = ec.generate_private_key(ec.SECP256R1())
            _write_key(private, key)
            pem = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            files.write(public, pem.decode())
        return private, public

    def kubeconfig(self, identity: Identity, *, server: str, name: str) -> str:
        """A self-contained kubeconfig for a client."""
        certificate, key = self.client(identity)
        cluster = {"server": server, "certificate-authority-data": _inline(self.certificate)}
        user = {"client-certificate-data": _inline(certificate), "client-key-data": _inline(key)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
        return yaml.safe_dump(document, sort_keys=False)

    def _load_or_make(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        if self.key.exists() and self.certificate.exists():
            key = serialization.load_pem_private_key(self.key.read_bytes(), None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise TypeError(self.key)
            return key, x509.load_pem_x509_certificate(self.certificate.read_bytes())
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "azaion-devcluster")])
        certificate = (
            _builder(name, name, key, _AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write_key(self.key, key)
        _write_certificate(self.certificate, certificate)
        return key, certificate

    def _signed(
        self,
        file: str,
        subject: x509.Name,
        purpose: x509.ObjectIdentifier,
        alternatives: list[x509.GeneralName],
    ) -> tuple[Path, Path]:
        certificate_path, key_path = self._folder / f"{file}.crt", self._folder / f"{file}.key"
        if certificate_path.exists() and key_path.exists():
            standing = x509.load_pem_x509_certificate(certificate_path.read_bytes())
            if standing.not_valid_after_utc - _RENEW_BEFORE > datetime.now(UTC):
                return certificate_path, key_path
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, self._certificate.subject, key, _CERTIFICATE_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        _write_key(key_path, key)
        _write_certificate(certificate_path, builder.sign(self._key, hashes.SHA256()))
        return certificate_path, key_path


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    # A minute back: clocks of two processes on one machine may be read in any order.
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + life)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files.write(path, pem.decode(), mode=0o600)


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    files.write(path, certificate.public_bytes(serialization.Encoding.PEM).decode())


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
