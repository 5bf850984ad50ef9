from django.contrib.admin import apps


class StaffAdminConfig(apps.AdminConfig):
    """Django's admin, on the project's own site."""

    # Not the configuration of `project` itself.
    default = False
    default_site = "api.staff_site.StaffSite"
