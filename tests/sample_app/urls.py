"""The URLs of the project, with those of the app."""

from django.urls import include, path, re_path
from rest_framework.urlpatterns import format_suffix_patterns

from tests.sample_app import api, views

urlpatterns = [
    path("notes/", views.NotePage.as_view(), name="notes"),
    path("notes/<slug:slug>/", views.NoteFragment.as_view(), name="note"),
    path("forms/small/", views.small_form),
    path("forms/large/", views.large_form),
    re_path(r"^archive/(?P<year>[0-9]{4})/$", views.archive),
    path("api/", include(api.router.urls)),
    *format_suffix_patterns([path("api/who/", api.WhoAmI.as_view())], allowed=["json"]),
    path("api/files/", api.FileView.as_view()),
    path("api/files/small/", api.SmallFileView.as_view()),
    path("api/files/<str:filename>/", api.FileView.as_view()),
    path("api/stream/", api.EventStream.as_view()),
    path("ws/notes/", api.SocketView.as_view()),
    path("", include("project.urls")),
]
handler400 = "project.error_pages.bad_request"
handler403 = "project.error_pages.permission_denied"
handler404 = "project.error_pages.not_found"
handler500 = "project.error_pages.server_error"
