"""The stack of docker-compose.yaml, built and started once, as somebody does who has cloned the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from include.provenance import git_revision
from tests.support.containers.engine import ROOT, Docker, Podman, build_stand_ins, install, public_images
from tests.support.containers.stack import Stack
from tests.support.processes import free_port, let_the_schedule_pass

# Images and the stand-ins' Debian, which are kept: outside the repository, where no other tool walks through them.
WORK = Path(os.environ.get("CONTAINERS_FOLDER", Path.home() / ".cache" / "lc-pipeline-containers"))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    project = WORK / "project"
    shutil.rmtree(project, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
    port = free_port()
    environment = {"AIRFLOW_PORT": str(port), "LC_PIPELINE_IMAGE": "localhost/lc-pipeline"}
    engine: Docker
    if Docker.is_there():
        engine = Docker(project, environment)
    else:
        install("podman")
        engine = Podman(project, environment, WORK)
    pulled = all(engine.can_pull(image) for image in public_images())
    images = {"RUNTIME_IMAGE": "runtime"} if pulled else build_stand_ins(engine, WORK)
    engine.environment |= images
    arguments = {"RUNTIME_IMAGE": images["RUNTIME_IMAGE"], "GIT_REVISION": git_revision() or ""}
    build_args = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    engine.build(project, environment["LC_PIPELINE_IMAGE"], *build_args)
    engine.down("--volumes")
    started = Stack(engine, port)
    let_the_schedule_pass(timedelta(minutes=30))
    try:
        engine.up()
        yield started
    finally:
        logs = [f"==== {service}\n{engine.logs(service)}" for service in engine.services()]
        (WORK / "logs.txt").write_text("\n".join(logs))
        engine.down("--volumes")
