"""The settings of the whole project, as deployed, with the view of the compared sites at /whoami/."""

from project.settings import *  # noqa: F403

ROOT_URLCONF = "tests.benchmarks.site.with_view_urls"
