from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from include.errors import PipelineError, one_line
from include.files import Locked, lock, replacing, run_key, scratch_folder
from tests.support.mounts import mounted


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


def test_a_run_id_that_is_a_safe_file_name_stays_as_it_is() -> None:
    assert run_key("demo__day_1") == "demo__day_1"


def test_of_another_run_id_the_file_name_shows_what_can_be_read() -> None:
    assert re.fullmatch(
        r"scheduled__2026-01-05T02_00_00_00_00-[0-9a-f]{16}", run_key("scheduled__2026-01-05T02:00:00+00:00")
    )


def test_two_run_ids_never_share_a_file_name_even_where_case_is_ignored() -> None:
    run_ids = ["a:b", "a+b", "a_b", "A_b", "A_B", ".", "..", "_", "../x", "..\\x", "x.", "x", "é", "e", " ", ""]
    run_ids += ["r" * 250, "r" * 249 + "s", "r" * 80, "r" * 81, *map(run_key, ["a:b", "r" * 250])]

    names = [run_key(run_id).lower() for run_id in run_ids]

    assert len(set(names)) == len(run_ids)
    assert max(map(len, names)) <= 80
    assert all(re.fullmatch(r"[a-z0-9_-][a-z0-9._-]*[a-z0-9_-]|[a-z0-9_-]", name) for name in names), names


def test_a_file_system_that_cannot_sync_a_folder_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("one")

    assert (tmp_path / "file").read_text() == "one"


def test_a_file_that_cannot_be_synced_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Invalid argument") as error, replacing(tmp_path / "file") as temporary:
        temporary.write_text("one")

    assert one_line(error.value) == f"{tmp_path / 'file'}: Invalid argument"


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with mounted(tmp_path / "full", "size=4k") as folder:
        with pytest.raises(OSError, match="No space left") as error, replacing(folder / "file") as temporary:
            temporary.write_bytes(b"x" * 10_000)

        assert one_line(error.value) == f"{folder / 'file'}: No space left on device"
        assert list(folder.iterdir()) == []


def test_a_file_system_without_locks_is_an_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(PipelineError, match=r"/lock can't be locked \(No locks available\)"),
        lock(tmp_path / "lock", "x"),
    ):
        pass


def test_what_cannot_be_removed_from_a_scratch_folder_stays(tmp_path: Path) -> None:
    with mounted(tmp_path / "scratch" / "busy", "size=4k"):
        for _ in range(2):
            with scratch_folder(tmp_path / "scratch") as folder:
                (folder / "file").touch()
            assert [path.name for path in folder.iterdir()] == ["busy"]
