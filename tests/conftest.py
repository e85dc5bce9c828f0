"""What every test gets: no network but this machine's own."""

import os
import socket

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

pytest.register_assert_rewrite("dwell.testing")

LOCAL = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Refuse connections and name look-ups that leave this machine."""
    connect, connect_ex, getaddrinfo = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.getaddrinfo,
    )

    def check(self, address):
        if self.family != socket.AF_UNIX and address[0] not in LOCAL:
            raise RuntimeError(f"tests use no network, but one wanted to reach {address}")

    def guarded(self, address):
        check(self, address)
        return connect(self, address)

    def guarded_ex(self, address):
        check(self, address)
        return connect_ex(self, address)

    def looked_up(host, *args, **options):
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (None, "", "0.0.0.0", "::", *LOCAL):
            raise RuntimeError(f"tests use no network, but one looked up {name!r}")
        return getaddrinfo(host, *args, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_ex)
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)


@pytest.fixture
def scripted_model(monkeypatch):
    """Studies run on the scripted model of `study_world`."""
    import study_world

    monkeypatch.setattr("dwell.study.make_generator", study_world.model)


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory):
    """The folder of a finished small study; not to be written to."""
    import study_world
    from dwell.study import Study

    folder = tmp_path_factory.mktemp("study") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dwell.study.make_generator", study_world.model)
        Study(study_world.spec(), folder).run()
    return folder
