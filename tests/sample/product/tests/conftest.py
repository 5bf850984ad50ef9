"""The fixtures of the project: users, signed-in browsers and clients."""

from tests.conftest import *
