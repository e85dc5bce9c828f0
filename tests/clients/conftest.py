"""What tests of other people's clients share: they write nothing outside the test's folder."""

import asyncio
import gc

import pytest


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    for name in ("DATA", "CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _asyncio_as_it_was():
    """Nobody patched asyncio (`nest_asyncio`): it would leave the loops of all tests open."""
    yield
    assert not hasattr(asyncio, "_nest_patched")


@pytest.fixture(autouse=True, scope="module")
def _left_open():
    """What a client left open is complained about within its own module, which ignores that."""
    yield
    gc.collect()
