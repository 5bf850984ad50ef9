"""
An app as Django's documentation shows it, beside the project: pages, htmx, uploads, an API by a router, jobs, streams.
`DJANGO_SETTINGS_MODULE=tests.sample_app.settings manage.py test tests.sample_app` runs its tests.
"""
