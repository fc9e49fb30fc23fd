"""A real Ray cluster on this machine: each node is a process group that can be killed like a machine."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[1]
_PATIENCE_SECONDS = 120


class Node:
    """``ray start --block``, in a session of its own."""

    def __init__(self, *options: str, cpus: int) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment["RAY_AUTH_MODE"] = "disabled"
        environment["RAY_worker_niceness"] = "0"  # on a machine that does much else, 15 is to stand still
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        self._process = subprocess.Popen(
            [*ray, "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}", "--object-store-memory=100000000", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=ROOT,
        )

    def kill(self) -> None:
        """What remains of a machine that lost its power: nothing, and no farewell."""
        with suppress(psutil.NoSuchProcess):
            for process in [*psutil.Process(self._process.pid).children(recursive=True), self._process]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait()


class RayCluster:
    """A head and whatever nodes are added to it."""

    def __init__(self, temporary: Path, *, head_cpus: int) -> None:
        port, dashboard = _free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self.dashboard = f"http://127.0.0.1:{dashboard}"
        self._cpus = 0.0
        head = ["--head", f"--port={port}", f"--temp-dir={temporary}"]
        head += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
        self.nodes = [self._start(*head, cpus=head_cpus)]

    def add_node(self, *, cpus: int) -> Node:
        node = self._start(f"--address={self.address}", cpus=cpus)
        self.nodes.append(node)
        return node

    def kill(self) -> None:
        for node in reversed(self.nodes):
            node.kill()

    def _start(self, *options: str, cpus: int) -> Node:
        before = len(self._alive())
        node = Node(*options, cpus=cpus)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(self._alive()) == before:
            assert time.monotonic() < deadline, "the Ray node did not start"
            time.sleep(0.2)
        return node

    def _alive(self) -> list[str]:
        """Nodes as the head counts them."""
        try:
            answer = httpx.get(f"{self.dashboard}/nodes", params={"view": "summary"}, timeout=10)
            nodes = answer.raise_for_status().json()["data"]["summary"]
        except (httpx.HTTPError, KeyError, ValueError):
            return []
        return [each["raylet"]["nodeId"] for each in nodes if each["raylet"].get("state") == "ALIVE"]


@contextmanager
def start_cluster(*, head_cpus: int) -> Iterator[RayCluster]:
    """A cluster of one node, which is gone afterwards with all that were added."""
    temporary = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # the names of its sockets must stay short
    cluster = RayCluster(temporary, head_cpus=head_cpus)
    try:
        yield cluster
    finally:
        cluster.kill()
        shutil.rmtree(temporary, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
