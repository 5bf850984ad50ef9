"""Whatever changes who may come in takes effect at the next request, in both modes, whichever way it was done."""

import re
from contextlib import suppress
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.urls import reverse

from accounts import mail
from accounts.models import SignIn, User
from api.blocklist.models import Entry

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "a quite different passphrase"
ACTIONS_OF_OUR_OWN = r'<option value="(?!delete_selected)(\w+)"[^>]*>[^<]*\b[Ee]nd'


@pytest.fixture
def world(ann, bob, staff, browser, browser_of, client_of, anonymous, password, mailoutbox, request):
    """Ann in a browser and in a client, and all who may do something about it."""
    on_commit = request.getfixturevalue("django_capture_on_commit_callbacks")

    def reset_link():
        with on_commit(execute=True):
            anonymous.post("/api/password/reset/", {"email": ann.email})
        mail.wait()
        return re.search(r"/reset/([^/\s]+)/([^/\s]+)/", mailoutbox[-1].body).groups()

    return SimpleNamespace(
        ann=ann,
        bob=bob,
        password=password,
        # Those who are to go:
        browser=browser_of(ann),
        client=client_of(ann),
        # Ann again, at work:
        her_page=browser_of(ann),
        her_program=client_of(ann),
        # Others:
        stranger=browser(),
        anonymous=anonymous,
        staff=browser_of(staff),
        bobs_browser=browser_of(bob),
        bobs_client=client_of(bob),
        reset_link=reset_link,
        client_of=client_of,
    )


def goes_to_sign_in(browser):
    response = browser.get("/accounts/profile/")
    return response.status_code == 302 and response.headers["Location"].startswith("/accounts/login/")


def refresh(world, token):
    return world.anonymous.post("/api/token/refresh/", {"refresh": token}).status_code


# The ways


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
    form = {"old_password": world.password, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    world.her_page.post("/accounts/password_change/", form)


def change_the_password_over_the_api(world):
    body = {"old_password": world.password, "new_password": NEW_PASSWORD}
    world.her_program.post("/api/password/change/", body)


def reset_the_password_on_the_page(world):
    uid, token = world.reset_link()
    form = {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
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
    """What a browser would send of one form of a page."""

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
    action = re.search(ACTIONS_OF_OUR_OWN, world.staff.get(url).content.decode()).group(1)
    ids = [str(pk) for pk in SignIn.objects.filter(user=world.ann).values_list("pk", flat=True)]
    agreed = {"confirmed": "yes", "why": "The phone was stolen."}
    world.staff.post(url, {"action": action, "_selected_action": ids} | agreed)


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
    delete_users_by_queryset,
    delete_users_by_the_base_manager,
    delete_each_sign_in,
    delete_sign_ins_by_queryset,
    delete_sign_ins_by_the_base_manager,
    untick_active_in_the_admin,
    end_sign_ins_in_the_admin,
]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


# Each way, seen from each side


@every_way
def test_who_is_to_go_is_out_and_nobody_else_is_cut_off(world, way, subtests):
    renewed = world.client_of(world.ann)
    renewed.renew()
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200
    assert renewed.get("/api/me/").status_code == 200
    way(world)
    with subtests.test("the browser is refused by the API"):
        assert world.browser.get("/api/me/").status_code in {401, 403}
    with subtests.test("the browser has to sign in again"):
        assert goes_to_sign_in(world.browser)
    with subtests.test("the access token is refused"):
        assert world.client.get("/api/me/").status_code == 401
    with subtests.test("the access token no longer verifies"):
        assert world.anonymous.post("/api/token/verify/", {"token": world.client.access}).status_code == 401
    with subtests.test("the refresh token is refused"):
        assert refresh(world, world.client.refresh) == 401
    with subtests.test("the tokens of a refresh made before are refused"):
        assert (renewed.get("/api/me/").status_code, refresh(world, renewed.refresh)) == (401, 401)
    with subtests.test("nobody else is cut off"):
        assert not goes_to_sign_in(world.bobs_browser)
        assert world.bobs_client.get("/api/me/").status_code == 200
        assert refresh(world, world.bobs_client.refresh) == 200


# Who stays


@pytest.mark.parametrize("way", [end_the_others, change_the_password_over_the_api, end_each_over_the_api])
def test_the_client_that_did_it_goes_on(world, way):
    way(world)
    assert world.her_program.get("/api/me/").status_code == 200


@pytest.mark.parametrize("way", [end_the_others, change_the_password_over_the_api, end_each_over_the_api])
def test_the_client_that_did_it_can_refresh(world, way):
    way(world)
    assert refresh(world, world.her_program.refresh) == 200


@pytest.mark.parametrize("way", [end_the_others_from_a_browser, change_the_password_on_the_page])
def test_the_browser_that_did_it_goes_on(world, way):
    way(world)
    assert not goes_to_sign_in(world.her_page)


def test_ending_all_ends_the_client_that_did_it(world):
    end_all(world)
    assert world.her_program.get("/api/me/").status_code == 401


def test_ending_all_ends_the_browser_that_did_it(world):
    end_all_from_a_browser(world)
    assert goes_to_sign_in(world.her_page)


# One alone


def test_signing_out_on_the_page_cuts_off_that_browser(world):
    world.browser.post("/accounts/logout/")
    assert goes_to_sign_in(world.browser)


def test_signing_out_on_the_page_ends_that_entry_of_the_list(world):
    before = SignIn.objects.filter(user=world.ann, ended_at=None).count()
    world.browser.post("/accounts/logout/")
    assert SignIn.objects.filter(user=world.ann, ended_at=None).count() == before - 1


def test_signing_out_on_the_page_leaves_the_client_alone(world):
    world.browser.post("/accounts/logout/")
    assert world.client.get("/api/me/").status_code == 200


def entry_of(world, kind):
    """The id of that browser or that client on Ann's list."""
    rows = getattr(world, kind).get("/api/sign-ins/").json()["results"]
    return next(row["id"] for row in rows if row["current"])


def test_a_client_ends_a_browser(world):
    world.client.delete(f"/api/sign-ins/{entry_of(world, 'browser')}/")
    assert goes_to_sign_in(world.browser)


def test_a_browser_ends_a_client(world):
    world.browser.delete(f"/api/sign-ins/{entry_of(world, 'client')}/")
    assert (world.client.get("/api/me/").status_code, refresh(world, world.client.refresh)) == (401, 401)


@pytest.mark.parametrize("kind", ["browser", "client"])
def test_ending_one_leaves_the_rest_of_hers(world, kind):
    world.her_program.delete(f"/api/sign-ins/{entry_of(world, kind)}/")
    assert not goes_to_sign_in(world.her_page)
    assert world.her_program.get("/api/me/").status_code == 200


# Nothing comes back


def reactivate_and_save(world):
    world.ann.is_active = True
    world.ann.save()


def reactivate_by_update(world):
    User.objects.filter(pk=world.ann.pk).update(is_active=True)


back_and_forth = pytest.mark.parametrize(
    ("away", "back"),
    [
        (deactivate_and_save, reactivate_and_save),
        (deactivate_by_update, reactivate_by_update),
        (deactivate_by_the_base_manager, reactivate_by_update),
        (deactivate_by_bulk_update, reactivate_and_save),
    ],
)


@back_and_forth
def test_reactivating_does_not_bring_a_browser_back(world, away, back):
    away(world)
    back(world)
    assert goes_to_sign_in(world.browser)


@back_and_forth
def test_reactivating_does_not_bring_an_access_token_back(world, away, back):
    away(world)
    back(world)
    assert world.client.get("/api/me/").status_code == 401


@back_and_forth
def test_reactivating_does_not_bring_a_refresh_token_back(world, away, back):
    away(world)
    back(world)
    assert refresh(world, world.client.refresh) == 401


@back_and_forth
def test_reactivating_lets_the_user_sign_in_anew(world, away, back):
    away(world)
    back(world)
    assert world.anonymous.sign_in("ann", world.password).status_code == 200
    assert world.anonymous.get("/api/me/").status_code == 200


def test_the_old_password_set_again_brings_nothing_back(world):
    old = world.ann.password
    set_a_password_by_update(world)
    User.objects.filter(pk=world.ann.pk).update(password=old)
    assert goes_to_sign_in(world.browser)
    assert (world.client.get("/api/me/").status_code, refresh(world, world.client.refresh)) == (401, 401)


def test_deleting_the_rows_of_ended_sign_ins_brings_nothing_back(world):
    end_all(world)
    SignIn.objects.filter(user=world.ann).delete()
    assert goes_to_sign_in(world.browser)
    assert (world.client.get("/api/me/").status_code, refresh(world, world.client.refresh)) == (401, 401)


def delete_entries_by_queryset():
    Entry.objects.all().delete()


def delete_each_entry():
    for entry in Entry.objects.all():
        entry.delete()


@pytest.mark.parametrize("delete", [delete_entries_by_queryset, delete_each_entry])
def test_deleting_entries_of_the_blocklist_brings_nothing_back(world, delete):
    end_all(world)
    # Whether it is refused or without effect is not the question here.
    with suppress(Exception), transaction.atomic():
        delete()
    assert world.client.get("/api/me/").status_code == 401


def test_a_new_user_of_the_same_name_does_not_inherit_tokens(world):
    world.ann.delete()
    User.objects.create_user("ann", "ann@example.org", world.password)
    assert world.client.get("/api/me/").status_code == 401


def test_a_new_user_of_the_same_id_does_not_inherit_tokens(world):
    pk = world.ann.pk
    world.ann.delete()
    User.objects.create_user("ann", "ann@example.org", world.password, pk=pk)
    assert world.client.get("/api/me/").status_code == 401


def test_a_new_user_of_the_same_id_does_not_inherit_a_browser(world):
    pk = world.ann.pk
    world.ann.delete()
    User.objects.create_user("ann", "ann@example.org", world.password, pk=pk)
    assert goes_to_sign_in(world.browser)


# What changes nobody's right to come in


def test_another_field_saved_cuts_nobody_off(world):
    world.ann.first_name = "Zoë"
    world.ann.save()
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200


def test_another_field_updated_cuts_nobody_off(world):
    User.objects.update(first_name="Zoë")
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200


def test_a_sign_in_elsewhere_cuts_nobody_off(world):
    world.anonymous.sign_in("ann", world.password)
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200


def test_a_change_that_was_rolled_back_cuts_nobody_off(world):
    with suppress(ZeroDivisionError), transaction.atomic():
        deactivate_by_update(world)
        raise ZeroDivisionError
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200
