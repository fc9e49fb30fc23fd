"""Listen and serve: the application behind an address of this machine, until it is told to stop."""

import asyncio
import contextlib
import gc
import math
import os
import socket
import sys
from types import FrameType

import uvicorn
from starlette.datastructures import State

from service.access import is_loopback
from service.app import create_app
from service.database import open_database
from service.db.keys import any_key
from service.db.session import sessions
from service.logs import set_up_logging
from service.settings import Settings
from trainer.errors import InvalidInput

_IDLE_SECONDS = 75
"""How long a connection is kept without a request: longer than clients and proxies keep theirs (httpx 5 s, aiohttp 15,
load balancers 60), for a request that meets the closing of its connection gets no answer."""


def run_server(settings: Settings, *, insecure: bool = False) -> None:
    """Serve until Ctrl-C or SIGTERM. An empty database is given its tables.

    Beyond this machine it serves only where a key exists, or where ``insecure`` says that nobody needs one.
    Raises InvalidInput where the address cannot be used, WrongSchema for a database at another migration.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as the driver's tool counts, whoever counts
    if settings.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.name for gpu in settings.gpus)
    with _listen(settings.host, settings.port) as listener:
        with open_database(settings) as engine, sessions(engine)() as session:  # before the address is announced
            keys_exist = any_key(session)
        if not (keys_exist or insecure or is_loopback(settings.host)):
            raise InvalidInput(
                f"{settings.host} is reachable from other machines and no key exists; make one with"
                " `assay keys create`, serve on 127.0.0.1, or say --insecure"
            )
        _serve(settings, listener)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, opened before anything else so that a taken port is said at once."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidInput(f"cannot listen on {host} port {port}: {reason}; choose another --host or --port") from error
    # connections inherit it, and asyncio does not see that these are TCP: an answer's body would wait for its head to
    # be acknowledged, 40 ms of every request on a connection that is kept
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _serve(settings: Settings, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    sys.stdout.write(f"Assay is at {address} and its API at {address}/docs; Ctrl-C stops it\n")
    sys.stdout.flush()
    app = create_app(settings, local_only=is_loopback(settings.host))
    set_up_logging(settings.log_format)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.settling = asyncio.create_task(_settle(app.state))

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.state.stopping.set()  # streams end by themselves; uvicorn would wait for them
            super().handle_exit(sig, frame)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # whoever holds for room asks elsewhere at once; uvicorn cuts off what has no answer at the limit
            app.state.scoring.stop_admitting()
            seconds = settings.shutdown_seconds
            app.state.under_way.end_by(asyncio.get_running_loop().time() + seconds - min(1.0, seconds / 4))
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds),
        server_header=False,
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn repeats the signal once it has shut down in order
        Server(config).run(sockets=[listener])


async def _settle(state: State) -> None:
    """Take what stays for good, imports and pinned models, out of the garbage collector's sight once it is there.

    Looking through its 600,000 objects held all requests for 0.1 to 0.3 s each time a collection was full. Models that
    are unloaded are freed without it.
    """
    await state.pinned.tried.wait()
    if state.settings.job_slots > 0:
        await asyncio.wait([asyncio.wrap_future(state.scoring.start())])
    gc.collect()
    gc.freeze()
    # a large page makes so many objects that at the usual 700 every eighth was held by a full round
    gc.set_threshold(10_000)
