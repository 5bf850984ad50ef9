"""Every way to end the sign-ins of a user."""

from html.parser import HTMLParser

from django.contrib.auth.hashers import make_password
from django.urls import reverse

from accounts.models import SignIn, User

NEW_PASSWORD = "a quite different passphrase"


def goes_to_sign_in(browser):
    response = browser.get("/accounts/profile/")
    return response.status_code == 302 and response.headers["Location"].startswith("/accounts/login/")


def refresh(world, token):
    return world.anonymous.post("/api/token/refresh/", {"refresh": token}).status_code


def end_each_over_the_api(world):
    for row in world.her_program.get("/api/sign-ins/").json()["results"]:
        if not row["current"]:
            world.her_program.delete(f"/api/sign-ins/{row['id']}/")


def end_the_others(world):
    world.her_program.post("/api/sign-ins/end-others/", {})


def end_the_others_from_a_browser(world):
    world.her_page.post("/api/sign-ins/end-others/", {}, content_type="application/json")


def end_all(world):
    world.her_program.post("/api/sign-ins/end-all/", {})


def end_all_from_a_browser(world):
    world.her_page.post("/api/sign-ins/end-all/", {}, content_type="application/json")


def change_the_password_on_the_page(world):
    form = {"old_password": world.password, "new_password1": NEW_PASSWORD}
    world.her_page.post("/accounts/password_change/", form)


def change_the_password_over_the_api(world):
    body = {"old_password": world.password, "new_password": NEW_PASSWORD}
    world.her_program.post("/api/password/change/", body)


def reset_the_password_on_the_page(world):
    uid, token = world.reset_link()
    form = {"new_password1": NEW_PASSWORD}
    world.stranger.post(f"/accounts/reset/{uid}/{token}/", form)


def reset_the_password_over_the_api(world):
    uid, token = world.reset_link()
    body = {"uid": uid, "token": token, "new_password": NEW_PASSWORD}
    world.anonymous.post("/api/password/reset/confirm/", body)


def deactivate_and_save(world):
    world.ann.is_active = False
    world.ann.save()


def deactivate_and_save_that_field(world):
    world.ann.is_active = False
    world.ann.save(update_fields=["is_active"])


def deactivate_by_update(world):
    User.objects.filter(pk=world.ann.pk).update(is_active=False)


def deactivate_by_update_across_a_relation(world):
    User.objects.filter(sign_ins__in=SignIn.objects.filter(user=world.ann)).update(is_active=False)


def deactivate_by_the_base_manager(world):
    User._base_manager.filter(pk=world.ann.pk).update(is_active=False)


def deactivate_by_the_default_manager(world):
    User._default_manager.filter(username="ann").update(is_active=False)


def deactivate_by_bulk_update(world):
    world.ann.is_active = False
    User.objects.bulk_update([world.ann], ["is_active"])


def deactivate_by_bulk_update_on_the_base_manager(world):
    world.ann.is_active = False
    User._base_manager.bulk_update([world.ann], ["is_active"])


def deactivate_by_update_or_create(world):
    User.objects.update_or_create(username="ann", defaults={"is_active": False})


def set_a_password_and_save(world):
    world.ann.set_password(NEW_PASSWORD)
    world.ann.save()


def set_an_unusable_password_and_save(world):
    world.ann.set_unusable_password()
    world.ann.save()


def set_a_password_by_update(world):
    User.objects.filter(pk=world.ann.pk).update(password=make_password(NEW_PASSWORD))


def set_a_password_by_the_base_manager(world):
    User._base_manager.filter(pk=world.ann.pk).update(password=make_password(NEW_PASSWORD))


def set_a_password_by_bulk_update(world):
    world.ann.password = make_password(NEW_PASSWORD)
    User.objects.bulk_update([world.ann], ["password"])


def delete_the_user(world):
    world.ann.delete()


def delete_the_account_over_the_api(world):
    world.her_program.post("/api/me/delete/", {"password": world.password})


def delete_the_account_from_a_browser(world):
    world.her_page.post("/api/me/delete/", {"password": world.password}, "application/json")


def delete_users_by_queryset(world):
    User.objects.filter(username="ann").delete()


def delete_users_by_the_base_manager(world):
    User._base_manager.filter(username="ann").delete()


def delete_each_sign_in(world):
    for sign_in in SignIn.objects.filter(user=world.ann):
        sign_in.delete()


def delete_sign_ins_by_queryset(world):
    SignIn.objects.filter(user=world.ann).delete()


def delete_sign_ins_by_the_base_manager(world):
    SignIn._base_manager.filter(user=world.ann).delete()


class Fields(HTMLParser):
    """Parses the values that a browser sends of one form of a page."""

    def __init__(self, form):
        super().__init__()
        self.form, self.inside, self.select, self.textarea, self.values = form, False, None, None, {}

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "form":
            self.inside = found.get("id") == self.form
        if not self.inside:
            return
        if tag == "select":
            self.select = found.get("name")
        if tag == "option" and "selected" in found:
            self.values.setdefault(self.select, []).append(found.get("value", ""))
        if tag == "textarea":
            self.textarea = found.get("name")
            self.values[self.textarea] = ""
        kind, name = found.get("type"), found.get("name")
        left_out = kind in {"submit", "button", "file"} or (kind in {"checkbox", "radio"} and "checked" not in found)
        if tag == "input" and name and not left_out:
            self.values[name] = found.get("value") or ("on" if kind == "checkbox" else "")

    def handle_data(self, data):
        if self.textarea:
            self.values[self.textarea] += data

    def handle_endtag(self, tag):
        if tag == "form":
            self.inside = False
        if tag == "textarea":
            self.textarea = None


def untick_active_in_the_admin(world):
    url = reverse("admin:accounts_user_change", args=[world.ann.pk])
    fields = Fields("user_form")
    fields.feed(world.staff.get(url).content.decode())
    del fields.values["is_active"]
    world.staff.post(url, fields.values | {"_save": "Save"})


def end_sign_ins_in_the_admin(world):
    url = reverse("admin:accounts_signin_changelist")
    ids = [str(pk) for pk in SignIn.objects.filter(user=world.ann).values_list("pk", flat=True)]
    agreed = {"confirmed": "yes", "why": "The phone was stolen."}
    world.staff.post(url, {"action": "end_selected", "_selected_action": ids} | agreed)


WAYS = [
    end_each_over_the_api,
    end_the_others,
    end_the_others_from_a_browser,
    end_all,
    end_all_from_a_browser,
    change_the_password_on_the_page,
    change_the_password_over_the_api,
    reset_the_password_on_the_page,
    reset_the_password_over_the_api,
    deactivate_and_save,
    deactivate_and_save_that_field,
    deactivate_by_update,
    deactivate_by_update_across_a_relation,
    deactivate_by_the_base_manager,
    deactivate_by_the_default_manager,
    deactivate_by_bulk_update,
    deactivate_by_bulk_update_on_the_base_manager,
    deactivate_by_update_or_create,
    set_a_password_and_save,
    set_an_unusable_password_and_save,
    set_a_password_by_update,
    set_a_password_by_the_base_manager,
    set_a_password_by_bulk_update,
    delete_the_user,
    delete_the_account_over_the_api,
    delete_the_account_from_a_browser,
    delete_users_by_queryset,
    delete_users_by_the_base_manager,
    delete_each_sign_in,
    delete_sign_ins_by_queryset,
    delete_sign_ins_by_the_base_manager,
    untick_active_in_the_admin,
    end_sign_ins_in_the_admin,
]
