from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from include.files import Locked, lock, replacing, run_key


def test_a_file_is_replaced_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file"
    with replacing(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half of tw")
        raise RuntimeError
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed_at_the_next_try(tmp_path: Path) -> None:
    script = (
        "import os, pathlib; from include.files import replacing\n"
        f"with replacing(pathlib.Path({str(tmp_path / 'file')!r})) as temporary:\n"
        "    temporary.write_text('half'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    assert not (tmp_path / "file").exists()
    assert len(list(tmp_path.iterdir())) == 1
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("whole")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_lock_is_refused_while_another_process_has_it_and_names_that_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    script = (
        "import pathlib, sys; from include.files import lock\n"
        f"with lock(pathlib.Path({str(path)!r}), 'testing'):\n"
        "    print('locked', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    with pytest.raises(Locked, match=f"process {holder.pid} is testing"), lock(path, "trying"):
        pass
    holder.kill()
    holder.communicate()
    with lock(path, "trying again"):
        pass


def test_a_run_id_becomes_one_file_name() -> None:
    assert run_key("scheduled__2026-01-05T02:00:00+00:00") == "scheduled__2026-01-05T02_00_00_00_00"
    assert run_key("../x") == ".._x"
