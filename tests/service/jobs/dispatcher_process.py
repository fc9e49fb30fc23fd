"""A dispatcher in a process of its own, until SIGTERM: `dispatcher_process.py SETTINGS_JSON COMMAND_JSON`."""

import json
import signal
import sys

from service.db.session import make_engine, sessions
from service.jobs.dispatcher import Dispatcher
from service.jobs.executors.local_process import LocalExecutor
from service.settings import Settings

settings = Settings.model_validate_json(sys.argv[1])
executor = LocalExecutor(settings.artifact_dir, json.loads(sys.argv[2]), storage_url=settings.storage_url)
dispatcher = Dispatcher(settings, sessions(make_engine(settings.database_url)), executor)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
dispatcher.start()
signal.sigwait([signal.SIGTERM])
dispatcher.stop()
