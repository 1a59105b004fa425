"""The cluster's certificates: who signs, for whom, for how long."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from azaion_devcluster import pki

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> pki.Authority:
    return pki.Authority(tmp_path)


def _load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_client_is_who_its_certificate_says(authority: pki.Authority) -> None:
    certificate, _ = authority.client(pki.node_identity("azaion-dev"))
    subject = _load(certificate).subject
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [
        "system:node:azaion-dev"
    ]
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:nodes"]


def test_a_client_certificate_does_not_serve(authority: pki.Authority) -> None:
    certificate, _ = authority.client(pki.ADMIN)
    usage = _load(certificate).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_server_is_verified_under_its_names_and_no_other(authority: pki.Authority) -> None:
    certificate, _ = authority.server("api", "api", names=["kubernetes.default"], addresses=["10.43.0.1"])
    store = Store([_load(authority.certificate)])
    builder = PolicyBuilder().store(store)

    builder.build_server_verifier(x509.DNSName("kubernetes.default")).verify(_load(certificate), [])

    with pytest.raises(VerificationError):
        builder.build_server_verifier(x509.DNSName("elsewhere")).verify(_load(certificate), [])


def test_another_authority_is_not_trusted(authority: pki.Authority, tmp_path: Path) -> None:
    certificate, _ = authority.server("api", "api", names=["kubernetes"], addresses=[])
    stranger = pki.Authority(tmp_path / "other")
    verifier = (
        PolicyBuilder()
        .store(Store([_load(stranger.certificate)]))
        .build_server_verifier(x509.DNSName("kubernetes"))
    )
    with pytest.raises(VerificationError):
        verifier.verify(_load(certificate), [])


def test_everything_is_kept_for_the_next_start(authority: pki.Authority, tmp_path: Path) -> None:
    first = [
        path.read_bytes()
        for pair in (authority.client(pki.ADMIN), authority.service_account_keys())
        for path in pair
    ]
    again = pki.Authority(tmp_path)
    second = [
        path.read_bytes() for pair in (again.client(pki.ADMIN), again.service_account_keys()) for path in pair
    ]
    assert first == second


def test_a_certificate_that_ends_soon_is_made_anew(
    authority: pki.Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pki, "_CERTIFICATE_LIFE", timedelta(days=10))
    certificate, _ = authority.client(pki.ADMIN)
    old = _load(certificate)
    monkeypatch.undo()

    certificate, _ = authority.client(pki.ADMIN)

    assert _load(certificate).serial_number != old.serial_number
    assert _load(certificate).not_valid_after_utc > datetime.now(UTC) + timedelta(days=300)


def test_keys_are_for_their_owner_alone(authority: pki.Authority, tmp_path: Path) -> None:
    authority.client(pki.ADMIN)
    authority.service_account_keys()
    keys = list(tmp_path.glob("*.key"))
    assert len(keys) == 3
    assert [oct(key.stat().st_mode & 0o777) for key in keys] == ["0o600"] * 3


def test_a_kubeconfig_stands_alone_and_checks_the_server(authority: pki.Authority) -> None:
    document = yaml.safe_load(
        authority.kubeconfig(pki.ADMIN, server="https://127.0.0.1:1", name="azaion-dev")
    )
    cluster = document["clusters"][0]["cluster"]
    assert set(cluster) == {"server", "certificate-authority-data"}
    assert set(document["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_the_standard_library_accepts_what_it_signs(authority: pki.Authority) -> None:
    certificate, key = authority.client(pki.ADMIN)
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(certificate, key)
    assert context.get_ca_certs()[0]["subject"]
