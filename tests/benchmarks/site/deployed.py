"""The settings of the whole project as it is deployed, with two views more."""

from project.settings import *  # noqa: F403

ROOT_URLCONF = "tests.benchmarks.site.deployed_urls"
