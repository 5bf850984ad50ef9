"""Calls a function of this package by name, with JSON arguments on stdin and the JSON result on stdout."""

import json
import sys

import django
from django.utils.module_loading import import_string

django.setup()
result = import_string(f"tests.benchmarks.site.{sys.argv[1]}")(**json.load(sys.stdin))
sys.stdout.write(f"\n{json.dumps(result)}\n")
