"""Settings of gunicorn, which reads this file in the folder where it is started."""

from project import closing


def post_worker_init(worker: object) -> None:
    closing.install()
