from __future__ import annotations

import datetime
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy_core import secret_files
from proxy_core.ca import authority
from proxy_core.ca.authority import CERTIFICATE_NAME, KEY_NAME, Authority
from proxy_core.errors import CaError
from tests.ca.certificates import Pair, make


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ca"


def test_first_run_makes_a_ca_and_says_so(directory: Path) -> None:
    made = Authority.load_or_create(directory)
    assert made.certificate_path == directory / "int3rceptor-ca.pem"
    assert made.certificate_path.read_bytes() == made.certificate_pem
    assert made.is_new
    assert made.repairs == ()


def test_second_run_loads_the_same_ca_in_silence(directory: Path) -> None:
    made = Authority.load_or_create(directory)
    loaded = Authority.load_or_create(directory)
    assert loaded.certificate == made.certificate
    assert not loaded.is_new
    assert loaded.repairs == ()


def test_files_are_private_and_no_drafts_are_left(directory: Path) -> None:
    before = os.umask(0)
    try:
        Authority.load_or_create(directory)
    finally:
        os.umask(before)
    assert mode(directory) == 0o700
    assert mode(directory.parent) == 0o700
    assert mode(directory / KEY_NAME) == 0o600
    assert mode(directory / CERTIFICATE_NAME) == 0o644
    assert {p.name for p in directory.iterdir()} == {KEY_NAME, CERTIFICATE_NAME}


def test_key_is_private_before_its_first_byte(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes_at_link: list[int] = []
    opened: list[int] = []
    real_open, real_link = os.open, os.link

    def open_watched(path: os.PathLike[str], flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            opened.append(mode)
        return real_open(path, flags, mode)

    def link_watched(source: Path, target: Path) -> None:
        modes_at_link.append(mode(source))
        real_link(source, target)

    monkeypatch.setattr(os, "open", open_watched)
    monkeypatch.setattr(os, "link", link_watched)
    Authority.load_or_create(directory)
    assert opened == [0o600, 0o600]
    assert modes_at_link == [0o600, 0o644]


def test_ca_certificate_is_what_clients_want_of_one(directory: Path) -> None:
    certificate = Authority.load_or_create(directory).certificate
    extensions = certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    now = datetime.datetime.now(datetime.UTC)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert certificate.not_valid_before_utc < now - datetime.timedelta(hours=1)
    assert certificate.not_valid_after_utc > now + datetime.timedelta(days=3000)


def test_two_cas_differ_in_name(tmp_path: Path) -> None:
    one, other = (Authority.load_or_create(tmp_path / d) for d in "ab")
    assert one.certificate.subject != other.certificate.subject


@pytest.mark.parametrize("wide", [0o644, 0o640, 0o604, 0o666])
def test_key_open_to_others_is_repaired_loudly(directory: Path, wide: int) -> None:
    made = Authority.load_or_create(directory)
    (directory / KEY_NAME).chmod(wide)
    loaded = Authority.load_or_create(directory)
    assert mode(directory / KEY_NAME) == 0o600
    assert loaded.certificate == made.certificate
    assert [f"mode {wide:04o}" in repair for repair in loaded.repairs] == [True]


def test_directory_open_to_others_is_repaired_loudly(directory: Path) -> None:
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    made = Authority.load_or_create(directory)
    assert mode(directory) == 0o700
    assert "mode 0755" in made.repairs[0]


def test_key_open_to_others_that_cannot_be_repaired_is_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Authority.load_or_create(directory)
    (directory / KEY_NAME).chmod(0o644)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(CaError, match=r"int3rceptor-ca\.key is open to other users .*--data-dir"):
        Authority.load_or_create(directory)


def test_interrupted_first_run_is_finished_by_the_next(directory: Path) -> None:
    Authority.load_or_create(directory)
    key = (directory / KEY_NAME).read_bytes()
    (directory / CERTIFICATE_NAME).unlink()
    again = Authority.load_or_create(directory)
    assert (directory / KEY_NAME).read_bytes() == key
    loaded_key = serialization.load_pem_private_key(key, None)
    assert again.certificate.public_key() == loaded_key.public_key()


@pytest.mark.parametrize("contested", [KEY_NAME, CERTIFICATE_NAME])
def test_loser_of_a_race_takes_the_winners_ca(
    directory: Path, monkeypatch: pytest.MonkeyPatch, contested: str
) -> None:
    winners: list[Authority] = []
    real_publish = secret_files.publish

    def publish_late(path: Path, data: bytes, mode: int) -> bool:
        if path.name == contested and not winners:
            monkeypatch.setattr(authority, "publish", real_publish)
            winners.append(Authority.load_or_create(directory))
        return real_publish(path, data, mode)

    monkeypatch.setattr(authority, "publish", publish_late)
    loser = Authority.load_or_create(directory)
    assert loser.certificate == winners[0].certificate
    assert winners[0].is_new != loser.is_new


def test_many_first_runs_at_once_end_with_one_ca(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for attempt in range(10):
            made = list(pool.map(Authority.load_or_create, [tmp_path / str(attempt)] * 8))
            assert len({m.certificate_pem for m in made}) == 1


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (KEY_NAME, b"", r"key holds no private key .* move both files away"),
        (KEY_NAME, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private"),
        (CERTIFICATE_NAME, b"nonsense", r"pem holds no certificate; .*delete it"),
        (CERTIFICATE_NAME, make("other", ca=True).pem, "do not belong together; restore the pair"),
        (KEY_NAME, make("other").key_pem, "do not belong together"),
    ],
)
def test_damaged_file_is_refused(
    directory: Path, name: str, content: bytes, complaint: str
) -> None:
    Authority.load_or_create(directory)
    (directory / name).write_bytes(content)
    with pytest.raises(CaError, match=complaint):
        Authority.load_or_create(directory)
    assert (directory / name).read_bytes() == content


def test_key_with_a_passphrase_is_refused(directory: Path) -> None:
    Authority.load_or_create(directory)
    locked = make("x").key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (directory / KEY_NAME).write_bytes(locked)
    with pytest.raises(CaError, match="without a passphrase"):
        Authority.load_or_create(directory)


def test_key_of_another_kind_is_refused(directory: Path) -> None:
    Authority.load_or_create(directory)
    key = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (directory / KEY_NAME).write_bytes(key)
    with pytest.raises(CaError, match="no EC, RSA or Ed25519 key"):
        Authority.load_or_create(directory)


def test_certificate_without_its_key_is_refused(directory: Path) -> None:
    Authority.load_or_create(directory)
    (directory / KEY_NAME).unlink()
    with pytest.raises(CaError, match="put the key back, or move the certificate away"):
        Authority.load_or_create(directory)
    assert not (directory / KEY_NAME).exists()


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        (make("mine", ca=False), "is no CA certificate"),
        (make("mine", ca=True, begin_in_days=-9, end_in_days=-1), r"expired on \d{4}-\d\d-\d\d"),
    ],
)
def test_certificate_that_cannot_sign_is_refused(
    directory: Path, pair: Pair, complaint: str
) -> None:
    directory.mkdir(parents=True, mode=0o700)
    (directory / KEY_NAME).write_bytes(pair.key_pem)
    (directory / CERTIFICATE_NAME).write_bytes(pair.pem)
    with pytest.raises(CaError, match=complaint):
        Authority.load_or_create(directory)


def test_ca_about_to_expire_is_used_and_announced(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o700)
    pair = make("mine", ca=True, end_in_days=7)
    (directory / KEY_NAME).write_bytes(pair.key_pem)
    (directory / KEY_NAME).chmod(0o600)
    (directory / CERTIFICATE_NAME).write_bytes(pair.pem)
    assert "expires on" in Authority.load_or_create(directory).repairs[0]


def test_directory_in_place_of_the_key_is_refused(directory: Path) -> None:
    (directory / KEY_NAME).mkdir(parents=True)
    with pytest.raises(CaError, match="make it a file of this user with mode 0600"):
        Authority.load_or_create(directory)


def test_pipe_in_place_of_the_key_is_refused_at_once(directory: Path) -> None:
    directory.mkdir(parents=True)
    os.mkfifo(directory / KEY_NAME)
    with pytest.raises(CaError, match="is no regular file"):
        Authority.load_or_create(directory)


def test_directory_in_place_of_the_certificate_is_refused(directory: Path) -> None:
    Authority.load_or_create(directory)
    (directory / CERTIFICATE_NAME).unlink()
    (directory / CERTIFICATE_NAME).mkdir()
    with pytest.raises(CaError, match="let this user read it"):
        Authority.load_or_create(directory)


def test_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("here already")
    with pytest.raises(CaError, match="--data-dir"):
        Authority.load_or_create(tmp_path / "ca")
    with pytest.raises(CaError, match="--data-dir"):
        Authority.load_or_create(tmp_path / "ca" / "below")


def test_full_disk_is_refused_and_leaves_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CaError, match="no space left on device"):
        Authority.load_or_create(directory)
    assert list(directory.iterdir()) == []


def test_files_that_vanish_again_and_again_are_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority, "publish", lambda *_: True)
    with pytest.raises(CaError, match="vanish while they are read"):
        Authority.load_or_create(directory)
