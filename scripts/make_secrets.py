"""Creates the secrets of docker-compose.yaml on the first start: one file each, in the folder given as the argument.

A secret comes from the variable of the same name if it is set, otherwise from an earlier start, otherwise it is random.
Airflow reads the files through its `_CMD` options, PostgreSQL through `POSTGRES_PASSWORD_FILE`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import quote

from cryptography.fernet import Fernet


class WrongSecret(Exception):
    """A variable has a value that can't be a secret, or another secret than the existing data was created with."""


def secret(folder: Path, name: str, *, default: str, may_change: bool = True, mode: int = 0o600) -> str:
    """Return the secret of this name, and keep it in `folder`, in a file of this mode.

    Raises WrongSecret if data that was written with the old secret could no longer be read.
    """
    file = folder / name.lower()
    kept = file.read_text() if file.exists() else ""
    value = os.environ.get(name) or kept or default
    if kept and value != kept and not may_change:
        raise WrongSecret(
            f"{name} differs from its value at the first start, and existing data can't be read with it: unset it, or "
            "delete everything with `docker compose down --volumes`"
        )
    write(file, value, mode)
    return value


def write(file: Path, text: str, mode: int = 0o600) -> None:
    """Replace the file atomically."""
    temporary = file.with_suffix(".new")
    temporary.touch(0o600)
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.replace(file)


def make_secrets(folder: Path) -> None:
    """Write all secrets into `folder`, and the files in which Airflow reads them: connection, broker, passwords."""
    folder.mkdir(parents=True, exist_ok=True)
    others = 0o444  # PostgreSQL and Redis run as users of their own
    postgres = secret(folder, "POSTGRES_PASSWORD", default=token_urlsafe(24), may_change=False, mode=others)
    redis = secret(folder, "REDIS_PASSWORD", default=token_urlsafe(24), mode=others)
    try:
        Fernet(os.environ.get("FERNET_KEY") or Fernet.generate_key())
    except ValueError as error:
        raise WrongSecret(f"FERNET_KEY is not a Fernet key: {error}") from error
    secret(folder, "FERNET_KEY", default=Fernet.generate_key().decode(), may_change=False)
    secret(folder, "JWT_SECRET", default=token_urlsafe(48))
    secret(folder, "API_SECRET_KEY", default=token_urlsafe(48))
    password = secret(folder, "AIRFLOW_PASSWORD", default=token_urlsafe(12))

    database = f"postgres:5432/{os.environ['POSTGRES_USER']}"
    login = f"{os.environ['POSTGRES_USER']}:{quote(postgres, safe='')}"
    write(folder / "sql_alchemy_conn", f"postgresql+psycopg2://{login}@{database}")
    write(folder / "celery_result_backend", f"db+postgresql://{login}@{database}")
    write(folder / "celery_broker_url", f"redis://:{quote(redis, safe='')}@redis:6379/0")
    write(folder / "airflow_passwords.json", json.dumps({os.environ["AIRFLOW_USER"]: password}))


if __name__ == "__main__":
    try:
        make_secrets(Path(sys.argv[1]))
    except WrongSecret as error:
        sys.exit(f"error: {error}")
