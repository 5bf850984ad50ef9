"""The configuration of gunicorn: `--config python:project.gunicorn_config`. Arguments win over it."""

import gc
from typing import Any

# The project is imported once, before the workers are forked, and they share that memory.
preload_app = True


def when_ready(server: Any) -> None:
    """Called before the first worker is forked."""
    from accounts import devices

    # 10 MB that each worker would load by itself at its first list of sign-ins.
    devices.of("")
    # The garbage collector writes to the objects that it traverses, and so would copy their memory to each worker.
    gc.collect()
    gc.freeze()
