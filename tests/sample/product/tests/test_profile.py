import re
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import profiles
from accounts.models import SecurityEvent, User
from product.models import Profile

SIGN_UP = {"username": "carol", "email": "carol@example.org", "password1": "quiet copper lantern drifts"}
REGISTER = {"username": "carol", "email": "carol@example.org", "password": "quiet copper lantern drifts"}

pytestmark = pytest.mark.django_db


def test_the_sign_up_page_asks_for_the_company(browser):
    page = browser()
    assert 'name="company"' in page.get("/accounts/signup/").content.decode()
    assert page.post("/accounts/signup/", SIGN_UP).status_code == 200
    assert not User.objects.exists()
    assert page.post("/accounts/signup/", SIGN_UP | {"company": "Acme"}).status_code == 302
    assert Profile.objects.get().company == "Acme"


def test_the_label_of_a_field_is_translated(browser):
    page = browser().get("/accounts/signup/", headers={"accept-language": "de"}).content.decode()
    assert re.search(r"<label[^>]*>Firma</label>", page)


def test_the_api_registers_with_the_company(anonymous):
    assert "company" in anonymous.post("/api/register/", REGISTER).json()
    answer = anonymous.post("/api/register/", REGISTER | {"company": "Acme"})
    assert (answer.status_code, answer.json()["company"], answer.json()["newsletter"]) == (201, "Acme", False)
    assert Profile.objects.get().company == "Acme"


def test_a_user_without_a_row_has_the_defaults(hers):
    me = hers.get("/api/me/").json()
    assert (me["company"], me["newsletter"], "customer_number" in me) == ("", False, False)
    assert not Profile.objects.exists()


def test_the_api_changes_a_field_and_only_that(hers, ann):
    assert hers.patch("/api/me/", {"company": "Acme", "first_name": "Ann"}).json()["company"] == "Acme"
    Profile.objects.update(customer_number="7", newsletter=True)
    assert hers.patch("/api/me/", {"company": "Acme Ltd", "customer_number": "8"}).status_code == 200
    profile = Profile.objects.get()
    assert (profile.company, profile.newsletter, profile.customer_number) == ("Acme Ltd", True, "7")
    assert User.objects.get(pk=ann.pk).first_name == "Ann"


@pytest.mark.parametrize(
    ("field", "value"), [("company", "x" * 81), ("company", 7), ("company", "A\u202ecme"), ("newsletter", "yes")]
)
def test_the_api_refuses_a_wrong_value(hers, field, value):
    answer = hers.patch("/api/me/", {field: value})
    assert (answer.status_code, field in answer.json()) == (400, True)


def test_the_profile_page_shows_and_changes_the_fields(browser_of, ann):
    browser = browser_of(ann)
    assert browser.post("/accounts/profile/", {"company": "Acme", "newsletter": "on"}).status_code == 302
    page = browser.get("/accounts/profile/").content.decode()
    assert re.search(r'name="company" value="Acme"', page)
    assert "customer_number" not in page
    assert Profile.objects.get().newsletter is True
    assert browser.post("/accounts/profile/", {"company": ""}).status_code == 200


def test_a_read_costs_one_statement_more(hers, django_assert_num_queries):
    # The blocklist, the user and the profile.
    with django_assert_num_queries(3):
        assert hers.get("/api/me/").status_code == 200


def test_staff_change_all_fields(page, ann):
    url = f"/admin/accounts/user/{ann.pk}/change/"
    shown = page.get(url).content.decode()
    assert 'name="profile-0-customer_number"' in shown
    hidden = {"profile-TOTAL_FORMS": 1, "profile-INITIAL_FORMS": 0, "profile-0-user": ann.pk}
    fields = {"username": "ann", "email": ann.email, "first_name": "", "last_name": "", "is_active": "on"}
    changes = {"profile-0-company": "Acme", "profile-0-customer_number": "42"}
    answer = page.post(url, fields | hidden | changes)
    assert answer.status_code == 302, answer.content.decode()
    assert Profile.objects.get().customer_number == "42"
    event = SecurityEvent.objects.filter(type=SecurityEvent.Type.USER_EDITED).get()
    assert set(event.details["changed"].split(", ")) == {"company", "customer_number"}
    hidden["profile-INITIAL_FORMS"] = 1
    answer = page.post(url, fields | hidden | changes | {"profile-0-customer_number": "43"})
    assert answer.status_code == 302, answer.content.decode()
    assert (Profile.objects.get().company, Profile.objects.get().customer_number) == ("Acme", "43")


def test_a_deleted_user_has_no_profile(hers, ann):
    hers.patch("/api/me/", {"company": "Acme"})
    ann.delete()
    assert not Profile.objects.exists()


def test_the_schema_has_the_fields(anonymous):
    schema = anonymous.get("/api/schema/", headers={"accept": "application/json"}).json()["components"]["schemas"]
    assert {"company", "newsletter"} <= schema["User"]["properties"].keys()
    assert "company" in schema["RegistrationRequest"]["required"]


def test_two_first_saves_at_once_keep_both_values(ann):
    one, other = User.objects.get(pk=ann.pk), User.objects.get(pk=ann.pk)
    # Both find no row.
    one.get_profile(), other.get_profile()
    profiles.save(one, {"company": "Acme"})
    profiles.save(other, {"newsletter": True})
    profile = Profile.objects.get()
    assert (profile.company, profile.newsletter) == ("Acme", True)


def test_a_profile_does_not_keep_an_unused_account(anonymous):
    anonymous.post("/api/register/", REGISTER | {"company": "Acme"})
    User.objects.update(unused_since=timezone.now() - timedelta(days=400))
    assert sum(User.objects.all().prune()) == 1
    assert not Profile.objects.exists()


def test_the_lists_pass_the_check():
    assert profiles.check_profile_model() == []


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({"PROFILE_FIELDS": ["company", "nothing"]}, "nothing"),
        ({"PROFILE_FIELDS": ["user"]}, "user"),
        ({"SIGN_UP_FIELDS": ["customer_number"]}, "customer_number"),
    ],
)
def test_a_check_refuses_a_wrong_list(monkeypatch, lists, words):
    for name, value in lists.items():
        monkeypatch.setattr(Profile, name, value)
    assert any(words in error.msg for error in profiles.check_profile_model())
