from django.urls import path

from product import views
from project.urls import *

# Before those of the project, so that a page here can replace one.
urlpatterns = [
    path("notes/", views.NotePage.as_view(), name="notes"),
    path("api/notes/", views.NoteList.as_view()),
    *urlpatterns,
]
