"""Tests of users who move in from another site."""
