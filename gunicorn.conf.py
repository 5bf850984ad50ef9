"""Settings of gunicorn, which reads this file in the folder where it is started."""

from project import closing

# Not used here; without a home folder it logs "Control server error" at each start.
control_socket_disable = True


def post_worker_init(worker: object) -> None:
    closing.install()
