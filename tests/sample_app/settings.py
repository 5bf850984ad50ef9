"""The settings of the project, with the sample app."""

from project.settings import *  # noqa: F403

INSTALLED_APPS = ["tests.sample_app", *INSTALLED_APPS]  # noqa: F405
ROOT_URLCONF = "tests.sample_app.urls"
