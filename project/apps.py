from django.apps import AppConfig
from django.contrib.admin import apps


class ProjectConfig(AppConfig):
    name = "project"
    default = True

    def ready(self) -> None:
        from project import checks  # noqa: F401 (registers them)


class StaffAdminConfig(apps.AdminConfig):
    """Django's admin, on the project's own site."""

    # Not the configuration of `project` itself.
    default = False
    default_site = "project.admin_site.StaffSite"
