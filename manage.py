#!/usr/bin/env python
import os
import sys

from project import DEFAULT_SETTINGS


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", DEFAULT_SETTINGS)
    # `start` is the newcomer's command: with nothing configured it is a development server on loopback.
    if sys.argv[1:2] == ["start"]:
        os.environ.setdefault("DEBUG", "true")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # What to mend, a line for each setting; where in our code it was noticed is of no use.
        sys.exit(str(error))
    except KeyboardInterrupt:
        # As a shell reports a process that SIGINT ended.
        sys.exit(130)


if __name__ == "__main__":
    main()
