"""The container engine that `make test-containers` uses: docker with its compose plugin where it runs, else podman.

Where the public base images can't be pulled, stand-ins are built: Debian by debootstrap, and on it what the Dockerfiles
beside this file make.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import wait_until

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
DEBIAN_PACKAGES = {
    "podman": "podman buildah runc iptables containernetworking-plugins "
    "golang-github-containernetworking-plugin-dnsname",
    "debootstrap": "debootstrap",
}


def run(*command: str | Path, check: bool = True, timeout: float = 600, **options: Any) -> str:
    """Run a command and return what it printed; raises AssertionError with both its outputs if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout, **options)
    assert not check or done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def install(program: str) -> None:
    """Install a program and what it needs from Debian's packages, where it is missing and we may."""
    if shutil.which(program):
        return
    assert shutil.which("apt-get") and os.geteuid() == 0, f"{program} is needed: install it (as root, on Debian, we do)"
    run("apt-get", "update", "-qq")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "install", "-yqq", "--no-install-recommends", *DEBIAN_PACKAGES[program].split(), env=environment)


class Docker:
    """docker and its compose plugin."""

    name = "docker"

    def __init__(self, project: Path, environment: dict[str, str]) -> None:
        self.project = project
        self.environment = os.environ | environment

    @staticmethod
    def is_there() -> bool:
        """Whether an engine answers, and not only the client is installed."""
        try:
            run("docker", "info", timeout=60)
            run("docker", "compose", "version", timeout=60)
        except (OSError, AssertionError, subprocess.TimeoutExpired):
            return False
        return True

    def engine(self, *command: str | Path, **options: Any) -> str:
        return run(self.name, *command, env=self.environment, **options)

    def compose(self, *command: str, **options: Any) -> str:
        return run(
            "docker", "compose", "--file", "docker-compose.yaml", *command,
            cwd=self.project, env=self.environment, **options,
        )  # fmt: skip

    def can_pull(self, image: str) -> bool:
        try:
            self.engine("pull", "--quiet", image, timeout=900)
        except (AssertionError, subprocess.TimeoutExpired):
            return False
        return True

    def build(self, context: Path, tag: str, *arguments: str) -> None:
        self.engine("build", "--tag", tag, *arguments, context, timeout=1200)

    def load_debian(self, root: Path, tag: str) -> None:
        """Make an image of a folder that debootstrap has filled."""
        archive = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
        change = "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"
        self.engine("import", "--change", change, "-", tag, stdin=archive.stdout)
        assert archive.wait() == 0

    def up(self) -> None:
        """Start everything and return when all that has a health check is healthy."""
        self.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "300")

    def down(self, *arguments: str) -> None:
        self.compose("down", *arguments)

    def services(self) -> dict[str, dict[str, Any]]:
        """What the engine knows of the container of each service."""
        names = self.engine(
            "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=lc-pipeline"
        ).split()
        known = json.loads(self.engine("inspect", *names)) if names else []
        return {found["Config"]["Labels"]["com.docker.compose.service"]: found for found in known}

    def exec(self, service: str, *command: str, check: bool = True) -> str:
        return self.engine("exec", self.services()[service]["Id"], *command, check=check)

    def logs(self, service: str) -> str:
        """What the service has written, errors included."""
        command = [self.name, "logs", self.services()[service]["Id"]]
        return subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ).stdout


class Podman(Docker):
    """podman with podman-compose, with images and containers in a folder of their own.

    Debian's podman 4.3 neither runs health checks by itself without systemd nor waits for `service_healthy`: here the
    services are started in the order of their `depends_on`, and their own health checks are run, by us.
    """

    name = "podman"

    def __init__(self, project: Path, environment: dict[str, str], storage: Path) -> None:
        super().__init__(project, environment)
        storage.mkdir(parents=True, exist_ok=True)
        backend = "netavark" if Path("/usr/lib/podman/netavark").exists() else "cni"  # Debian's podman has none
        (storage / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{storage}/images"\nrunroot = "{storage}/run"\n'
        )
        (storage / "containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n'
            f'[network]\nnetwork_backend = "{backend}"\n'
        )
        self.environment |= {
            "CONTAINERS_STORAGE_CONF": str(storage / "storage.conf"),
            "CONTAINERS_CONF": str(storage / "containers.conf"),
        }

    def compose(self, *command: str, **options: Any) -> str:
        program = Path(sys.executable).with_name("podman-compose")
        file = ("--file", "docker-compose.yaml")
        return run(program, *file, *command, cwd=self.project, env=self.environment, **options)

    def build(self, context: Path, tag: str, *arguments: str) -> None:
        cache = run("uv", "cache", "dir").strip()
        run(
            "buildah", "bud", "--isolation", "chroot", "--format", "docker", "--tag", tag,
            "--volume", f"{cache}:/var/cache/uv", *arguments, context,
            env=self.environment, timeout=1200,
        )  # fmt: skip

    def up(self) -> None:
        wanted = yaml.safe_load((self.project / "docker-compose.yaml").read_text())["services"]
        wanted = {name: service for name, service in wanted.items() if "profiles" not in service}
        started: set[str] = set()
        while len(started) < len(wanted):
            for name, service in wanted.items():
                if name not in started and started >= set(service.get("depends_on", {})):
                    self.await_dependencies(service.get("depends_on", {}))
                    self.compose("up", "--detach", "--no-deps", "--no-build", name)
                    started.add(name)
        for name, service in wanted.items():
            if "healthcheck" in service:
                self.wait_until_healthy(name)

    def await_dependencies(self, dependencies: dict[str, dict[str, str]]) -> None:
        for name, dependency in dependencies.items():
            if dependency["condition"] == "service_healthy":
                self.wait_until_healthy(name)
            else:
                status = self.engine("wait", self.services()[name]["Id"]).strip()
                assert status == "0", f"{name} ended with {status}: {self.logs(name)}"

    def wait_until_healthy(self, service: str) -> None:
        try:
            wait_until(lambda: self.is_healthy(service), seconds=300)
        except TimeoutError as error:
            raise AssertionError(f"{service} is not healthy: {self.logs(service)}") from error

    def is_healthy(self, service: str) -> bool:
        container = self.services()[service]
        if not container["State"]["Running"]:
            return False
        checked = subprocess.run(
            [self.name, "healthcheck", "run", container["Id"]], env=self.environment, capture_output=True
        )
        return checked.returncode == 0


def debian(folder: Path) -> Path:
    """Return a folder with a bare Debian, Python and the certificates that this machine trusts."""
    root = folder / "debian"
    if not (root / "complete").exists():
        install("debootstrap")
        shutil.rmtree(root, ignore_errors=True)
        run("debootstrap", "--variant=minbase", "--include=ca-certificates,python3,python3-venv,tini", "bookworm", root)
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs/ca-certificates.crt")
        shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
        (root / "complete").touch()
    return root


def constraints() -> str:
    """requirements.lock without its hashes: what a constraints file may hold."""
    return "\n".join(re.findall(r"^([A-Za-z0-9][^ ]*==[^ ]+.*?) \\$", (ROOT / "requirements.lock").read_text(), re.M))


def build_stand_ins(engine: Docker, folder: Path) -> dict[str, str]:
    """Build Debian's stand-ins for the runtime, PostgreSQL and Redis; return the variables that name them."""
    context = folder / "stand_ins"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(HERE, context)
    shutil.copy(shutil.which("uv") or "uv", context / "uv")
    (context / "constraints.txt").write_text(constraints())
    base = "localhost/lc-pipeline-debian:bookworm"
    engine.load_debian(debian(folder), base)
    images = {}
    for name, variable in {"runtime": "RUNTIME_IMAGE", "postgres": "POSTGRES_IMAGE", "redis": "REDIS_IMAGE"}.items():
        images[variable] = f"localhost/lc-pipeline-{name}"
        dockerfile = str(context / f"{name}.Dockerfile")
        engine.build(context, images[variable], "--file", dockerfile, "--build-arg", f"DEBIAN_IMAGE={base}")
    return images


def public_images() -> list[str]:
    """The base images that Dockerfile and compose file name where nothing else is said."""
    runtime = re.findall(r"^FROM (\S+) AS runtime$", (ROOT / "Dockerfile").read_text(), re.M)
    others = re.findall(r"\$\{\w+_IMAGE:-([^}]+:[^}]+)\}", (ROOT / "docker-compose.yaml").read_text())
    return [*runtime, *others]
