"""The settings of the whole project with the cheapest password hash, for the cost of a sign-in without it."""

from project.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
