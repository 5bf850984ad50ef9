"""This project and a stock one, each as deployed, on stores of their own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from tests import servers
from tests.benchmarks import machine
from tests.benchmarks.site.contenders import SIMPLEJWT_ROTATION
from tests.benchmarks.stand import Stand, stand

STOCK = "tests.benchmarks.site.stock"
# As deployed: the second process reads the byte code that the first one has written.
WRITES_BYTE_CODE = {"PYTHONDONTWRITEBYTECODE": ""}
OUR_SETTINGS, STOCK_SETTINGS = "tests.benchmarks.site.unhashed", f"{STOCK}.settings"


@dataclass(frozen=True, eq=False)
class Site:
    """A site and its database."""

    stand: Stand
    application: str
    # The module in tests.benchmarks.site that makes users.
    people: str

    @contextmanager
    def node(self, workers: int = 1) -> Iterator[servers.Node]:
        """Starts sync workers on the core of the application."""
        with machine.pinned(machine.SERVER_CORE):
            node = servers.node(self.stand.env, workers, application=self.application)
            with node as started:
                yield started


@contextmanager
def sites() -> Iterator[tuple[Site, Site]]:
    """Starts the stores; returns this project and the stock one."""
    with stand() as here:
        env = here.env | WRITES_BYTE_CODE
        ours = replace(here, env=env | {"DJANGO_SETTINGS_MODULE": OUR_SETTINGS})
        database = here.postgres.create_database("stock")
        its_own = {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": STOCK_SETTINGS}
        stock = replace(here, env=env | its_own | {"CONTENDER": SIMPLEJWT_ROTATION.name})
        stock.manage("migrate", "--verbosity=0")
        yield (
            Site(ours, "project.wsgi", "people"),
            Site(stock, f"{STOCK}.wsgi", "stock.people"),
        )


def result(what: str, unit: str, ours: Sequence[float], stock: Sequence[float]) -> dict[str, Any]:
    """Figures by round. Each ratio is of figures of one round."""
    ratios = [our / their for our, their in zip(ours, stock, strict=True)]
    figures = {"ours": list(ours), "stock": list(stock), "ratio": median(ratios), "ratios": ratios}
    return {"what": what, "unit": unit, **figures}
