"""The image: what an operator may rely on, read from the Dockerfile, since not every machine can build one."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.image.dockerfile import COPIED, final_stage, instructions
from tests.support.root import ROOT


def test_the_dockerfile_has_no_known_fault() -> None:
    """Hadolint, with all its rules, has nothing to say."""
    tool = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([tool, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_process_is_a_stranger_to_the_system() -> None:
    """It runs under numbers that are not root's, so that `runAsNonRoot` can be checked."""
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", final_stage()["USER"])


def test_the_program_gets_the_signals_itself() -> None:
    """No shell stands between the kubelet's SIGTERM and the drain."""
    stage = final_stage()
    assert json.loads(stage["ENTRYPOINT"]) == ["processor"]
    assert json.loads(stage["CMD"]) == ["run"]
    assert stage["STOPSIGNAL"] == "SIGTERM"


def test_nothing_is_installed_that_no_hash_covers() -> None:
    """Each install takes a lock with hashes, or the wheel just built without its dependencies."""
    steps = [part for word, rest in instructions() if word == "RUN" for part in rest.split("&&")]
    installs = [part for part in steps if "bin/pip " in part and " install " in part]
    assert len(installs) == 3
    assert [part for part in installs if "--require-hashes" not in part and "--no-index --no-deps" not in part] == []


def test_whatever_reaches_for_packages_believes_the_authorities_that_the_builder_names() -> None:
    """Behind a proxy that inspects TLS; as secrets, so that neither they nor an index's password stay in a layer."""
    runs = [rest for word, rest in instructions() if word == "RUN"]
    (fetching,) = [rest for rest in runs if "bin/pip install" in rest]
    assert {"--mount=type=secret,id=ca", "--mount=type=secret,id=pip"} <= set(fetching.split())
    assert "export PIP_CERT=/run/secrets/ca;" in fetching
    assert "PIP_CONFIG_FILE=/run/secrets/pip" in " ".join(rest for word, rest in instructions() if word == "ENV")
    assert [rest for word, rest in instructions() if word == "ARG" and re.search("INDEX|CERT|PIP", rest)] == []


def test_the_last_stage_runs_nothing() -> None:
    """Its base needs no shell, so that one without a shell may be chosen."""
    assert "RUN" not in final_stage()


def test_the_only_place_it_writes_to_is_the_state_directory() -> None:
    """A read-only root file system is enough: state goes to a volume, bytecode and logs nowhere."""
    environment = " ".join(rest for word, rest in instructions() if word == "ENV")
    assert f"PROCESSOR_STATE__DIRECTORY={final_stage()['VOLUME']}" in environment
    assert "PYTHONDONTWRITEBYTECODE=1" in environment
    assert "PYTHONUNBUFFERED=1" in environment


@pytest.mark.parametrize("source", COPIED)
def test_what_is_copied_exists_and_is_sent_to_the_engine(source: str) -> None:
    """Each source of a COPY is there, and `.dockerignore` lets it through."""
    assert (ROOT / source).exists()
    assert f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines()
