"""The WSGI application of the stock Django project, as `startproject` writes it."""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
