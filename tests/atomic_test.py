import ctypes
import errno
import os
import stat

import pytest

from keras_distill import atomic


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_text_and_bytes_arrive_as_they_are(tmp_path):
    atomic.write_text(tmp_path / "a" / "b.txt", "wörter\n")
    atomic.write_bytes(tmp_path / "c.bin", b"\r\n\0")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "wörter\n".encode()
    assert (tmp_path / "c.bin").read_bytes() == b"\r\n\0"
    assert names(tmp_path) == ["a", "c.bin"]


def test_a_file_gets_the_rights_that_any_new_file_gets(tmp_path):
    atomic.write_text(tmp_path / "ours", "")
    (tmp_path / "plain").touch()
    ours, plain = (os.stat(tmp_path / name).st_mode for name in ("ours", "plain"))
    assert stat.S_IMODE(ours) == stat.S_IMODE(plain)


def test_the_temporary_file_keeps_the_suffix_and_the_folder(tmp_path):
    with atomic.file(tmp_path / "student.keras") as temporary:
        assert temporary.suffix == ".keras" and temporary.parent == tmp_path
        temporary.write_text("x")
    assert names(tmp_path) == ["student.keras"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, failing
):
    atomic.write_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(os, failing, no_space)
    with pytest.raises(OSError, match="No space left"):
        atomic.write_text(tmp_path / "a.txt", "new")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_stops_the_writing_of_a_file_leaves_nothing(tmp_path, error):
    with pytest.raises(error), atomic.file(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert names(tmp_path) == []


def test_a_folder_appears_whole(tmp_path):
    with atomic.folder(tmp_path / "runs" / "x") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "a.txt").write_text("a")
        assert not (tmp_path / "runs" / "x").exists()
    assert (tmp_path / "runs" / "x" / "inner" / "a.txt").read_text() == "a"
    assert names(tmp_path / "runs") == ["x"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_stops_the_filling_of_a_folder_leaves_nothing(tmp_path, error):
    with pytest.raises(error), atomic.folder(tmp_path / "x") as folder:
        (folder / "a.txt").write_text("half")
        raise error
    assert names(tmp_path) == []


def test_an_existing_folder_is_refused_before_anything_is_done(tmp_path):
    (tmp_path / "x").mkdir()
    with (
        pytest.raises(FileExistsError, match="must not exist.*path=.*x"),
        atomic.folder(tmp_path / "x"),
    ):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["x"]


def test_a_file_of_that_name_is_never_overwritten_by_a_folder(tmp_path):
    (tmp_path / "x").write_text("precious")
    with (
        pytest.raises(FileExistsError, match="must not exist"),
        atomic.folder(tmp_path / "x", overwrite=True),
    ):
        pytest.fail("the block must not run")
    assert (tmp_path / "x").read_text() == "precious"


def test_overwriting_replaces_the_whole_folder(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old.txt").write_text("old")
    with atomic.folder(tmp_path / "x", overwrite=True) as folder:
        (folder / "new.txt").write_text("new")
        assert names(tmp_path / "x") == ["old.txt"]
    assert names(tmp_path / "x") == ["new.txt"]
    assert names(tmp_path) == ["x"]


def test_two_folders_change_places_in_one_step(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / f"was_{name}").touch()
    if not atomic.exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system cannot exchange two folders")
    assert names(tmp_path / "a") == ["was_b"] and names(tmp_path / "b") == ["was_a"]
    with pytest.raises(FileNotFoundError, match="none"):
        atomic.exchange(tmp_path / "a", tmp_path / "none")
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EPERM])
def test_an_exchange_that_the_system_does_not_know_is_told_from_one_that_fails(
    tmp_path, monkeypatch, code
):
    def refuse(one, other):
        ctypes.set_errno(code)
        return -1

    monkeypatch.setattr(atomic, "_exchange_call", lambda: refuse)
    if code == errno.EPERM:
        with pytest.raises(PermissionError):
            atomic.exchange(tmp_path / "a", tmp_path / "b")
    else:
        assert not atomic.exchange(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(atomic, "_exchange_call", lambda: None)
    assert not atomic.exchange(tmp_path / "a", tmp_path / "b")


def test_an_exchange_that_fails_keeps_the_old_folder(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old.txt").write_text("old")
    monkeypatch.setattr(atomic, "exchange", no_space)
    with (
        pytest.raises(OSError, match="No space left"),
        atomic.folder(tmp_path / "x", overwrite=True) as folder,
    ):
        (folder / "new.txt").write_text("new")
    assert names(tmp_path) == ["x"] and names(tmp_path / "x") == ["old.txt"]


@pytest.mark.parametrize("step", [1, 2])
def test_overwriting_that_fails_keeps_the_old_folder(tmp_path, monkeypatch, step):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old.txt").write_text("old")
    monkeypatch.setattr(atomic, "exchange", lambda *paths: False)
    rename, calls = os.replace, []

    def replace(*paths):
        calls.append(paths)
        return no_space() if len(calls) == step else rename(*paths)

    monkeypatch.setattr(os, "replace", replace)
    with (
        pytest.raises(OSError, match="No space left"),
        atomic.folder(tmp_path / "x", overwrite=True) as folder,
    ):
        (folder / "new.txt").write_text("new")
    assert names(tmp_path) == ["x"] and names(tmp_path / "x") == ["old.txt"]
