"""Configurations of the project's own app and of the admin."""

from django.apps import AppConfig
from django.contrib.admin import apps


class ProjectConfig(AppConfig):
    name = "project"
    default = True

    def ready(self) -> None:
        from project import checks  # noqa: F401 (registers the checks)


class StaffAdminConfig(apps.AdminConfig):
    """Django's admin with the project's own AdminSite."""

    # The default configuration of `project` is ProjectConfig.
    default = False
    default_site = "project.admin_site.StaffSite"
