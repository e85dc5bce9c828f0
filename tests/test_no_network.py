"""The suite's own guard: no test reaches beyond this machine."""

import socket

import pytest


def test_connections_to_other_machines_are_refused():
    with socket.socket() as probe, pytest.raises(RuntimeError, match="no network"):
        probe.connect(("192.0.2.1", 80))


def test_names_of_other_machines_are_not_looked_up():
    with pytest.raises(RuntimeError, match="no network"):
        socket.getaddrinfo("example.org", 80)


def test_connections_to_this_machine_work():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
