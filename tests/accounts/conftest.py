from datetime import timedelta

LONG_AGO = timedelta(minutes=16)
