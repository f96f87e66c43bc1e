"""Files of certificates and keys that settings name are read when settings are loaded: what is none is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trustme

from processor.settings import Settings
from processor.settings_relations import file_problems


def certificate_files(directory: Path, *, of_another: bool = False) -> dict[str, str]:
    """Write authority, certificate and key; return librdkafka's properties that name them."""
    authority = trustme.CA()
    mine, other = authority.issue_cert("processor"), authority.issue_cert("another")
    names = {f"ssl.{what}.location": str(directory / what) for what in ("ca", "certificate", "key")}
    authority.cert_pem.write_to_path(names["ssl.ca.location"])
    mine.cert_chain_pems[0].write_to_path(names["ssl.certificate.location"])
    (other if of_another else mine).private_key_pem.write_to_path(names["ssl.key.location"])
    return names | {"security.protocol": "ssl"}


def tried(**sections: Mapping[str, Any]) -> str:
    """Return what is wrong with settings, nothing where they will do."""
    return "\n".join(file_problems(Settings.model_validate(sections)))


def test_certificates_that_fit_will_do(tmp_path: Path) -> None:
    """Authorities, a client's certificate and its key."""
    properties = certificate_files(tmp_path)
    authority = {"ca_file": properties["ssl.ca.location"]}
    assert tried(kafka={"properties": properties}, api=authority, schema_registry=authority) == ""


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    """So whoever writes certificate and key one after the other breaks nothing in between."""
    properties = certificate_files(tmp_path, of_another=True)
    assert tried(kafka={"properties": properties}).startswith("PROCESSOR_KAFKA__PROPERTIES: no client can be made of ")


def test_authorities_that_are_none_are_refused(tmp_path: Path) -> None:
    """The provider's client would take any bytes, and trust nobody."""
    file = tmp_path / "ca.pem"
    file.write_text("half a certifi", encoding="utf-8")
    told = tried(api={"ca_file": str(file)}, schema_registry={"ca_file": str(file)}).splitlines()
    assert [line.split(":")[0] for line in told] == ["PROCESSOR_API__CA_FILE", "PROCESSOR_SCHEMA_REGISTRY__CA_FILE"]
