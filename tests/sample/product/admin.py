from django.contrib import admin

from product.models import Note

admin.site.register(Note)
