"""What clients read of certificates and keys: what files held when they were taken up, whatever is written later."""

import os
import sys
from pathlib import Path

import pytest

from processor.file_copies import FILE_BYTES_MAX, KeptFiles, contents_of, written_at
from processor.settings import Settings
from processor.settings_files import process_reading, profile_reading
from tests.support.mounted import MountedFiles

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files in memory")


def test_a_copy_stays_what_it_was_as_long_as_it_is_kept(tmp_path: Path) -> None:
    """Written over, emptied or removed: the copy is read as before, cannot be written, and goes with its value."""
    file = tmp_path / "tls.key"
    file.write_text("first", encoding="utf-8")
    kept = KeptFiles.of([file])
    path = kept.path(file)
    file.write_text("second", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "first"
    file.unlink()
    assert path.read_text(encoding="utf-8") == "first"
    with pytest.raises(PermissionError):
        path.write_text("third", encoding="utf-8")
    del kept
    assert not path.exists()


def test_what_files_held_is_compared_not_where_copies_lie(tmp_path: Path) -> None:
    """Two readings of the same are equal."""
    file = tmp_path / "ca.crt"
    file.write_text("first", encoding="utf-8")
    first, again = KeptFiles.of([file]), KeptFiles.of([file])
    assert (first == again, first.path(file) == again.path(file)) == (True, False)
    file.write_text("second", encoding="utf-8")
    assert KeptFiles.of([file]) != first


def test_what_cannot_be_copied_is_read_where_it_lies(tmp_path: Path) -> None:
    """A directory of authorities, a pipe, what is missing, and what is far too large for a certificate."""
    (tmp_path / "certs").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(FILE_BYTES_MAX)
    files = [tmp_path / name for name in ("certs", "pipe", "missing", "large")]
    kept = KeptFiles.of(files)
    assert [kept.path(file) for file in files] == files


def test_clients_read_copies_except_where_only_the_file_itself_will_do(tmp_path: Path) -> None:
    """An assertion is read anew by librdkafka for each token, a keytab by another program, an engine is code."""
    file = tmp_path / "file"
    file.write_text("held", encoding="utf-8")
    copied = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.keystore.location")
    in_place = ("ssl.engine.location", "sasl.kerberos.keytab", "sasl.oauthbearer.assertion.file", "sasl.username")
    given = {"kafka": {"properties": dict.fromkeys((*copied, *in_place), str(file))}, "api": {"ca_file": file}}
    settings = Settings.model_validate({**given, "providers": {}, "schema_registry": {"ca_file": file}})
    kept = KeptFiles.of([file])
    read = profile_reading(process_reading(settings, kept), "default", kept)
    assert {name for name, value in read.kafka.properties.items() if value == str(kept.path(file))} == {*copied}
    assert read.schema_registry.ca_file == read.api.ca_file == kept.path(file)


def test_what_is_written_while_it_is_read_shows(tmp_path: Path) -> None:
    """Also where it holds afterwards what it held before."""
    file = tmp_path / "secret"
    file.write_text("held", encoding="utf-8")
    os.utime(file, (1, 1))
    before = written_at([tmp_path])
    assert written_at([tmp_path]) == before
    file.write_text("held", encoding="utf-8")
    assert written_at([tmp_path]) != before


def test_a_swapped_link_is_a_change(tmp_path: Path) -> None:
    """Kubernetes swaps one link for all files of a volume; what a file holds counts, not where it lies."""
    mounted = MountedFiles(tmp_path, {"key": "one", "secret": "one"})
    first = contents_of([tmp_path])
    assert {file.name for file in first} == {"key", "secret"}
    mounted.change({"secret": "two"})
    second = contents_of([tmp_path])
    assert {file.name for file in first if first[file] != second[file]} == {"secret"}
    mounted.change({"secret": "two"})
    assert contents_of([tmp_path]) == second


def test_a_file_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    """It may come back; whether it is needed, those who read it say."""
    assert contents_of([tmp_path / "gone"]) == {tmp_path / "gone": ""}
