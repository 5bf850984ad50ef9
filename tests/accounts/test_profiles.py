"""Fields of profiles: the names of a user, and the rules for PROFILE_MODEL. tests/sample has fields of a product."""

import pytest

from accounts import profiles

pytestmark = pytest.mark.django_db

INVISIBLE = ["Ann\u202eevil", "Ann\nevil", "An\u200bn", "\x1b[31mAnn", "Ann\x7f"]


@pytest.mark.parametrize("field", ["first_name", "last_name"])
@pytest.mark.parametrize("name", INVISIBLE)
def test_the_api_refuses_control_characters_in_a_name(hers, ann, field, name):
    answer = hers.patch("/api/me/", {field: name})
    assert (answer.status_code, answer.json()[field]) == (400, ["Control characters are not allowed."])


@pytest.mark.parametrize("name", INVISIBLE)
def test_the_page_refuses_control_characters_in_a_name(browser_of, ann, name):
    page = browser_of(ann).post("/accounts/profile/", {"first_name": name, "last_name": ""})
    assert page.status_code == 200
    assert "Control characters are not allowed." in page.content.decode()


def test_the_admin_refuses_control_characters_in_a_name(page, ann):
    fields = {"username": "ann", "email": ann.email, "first_name": "Ann\u202eevil", "last_name": "", "is_active": "on"}
    answer = page.post(f"/admin/accounts/user/{ann.pk}/change/", fields)
    assert "Control characters are not allowed." in answer.content.decode()
    ann.refresh_from_db()
    assert ann.first_name == ""


@pytest.mark.parametrize("name", ["Zoë", "O'Brien-Ångström", "علی\u200cرضا", "李小龙"])
def test_a_name_has_letters_of_any_script(hers, name):
    assert hers.patch("/api/me/", {"first_name": name}).json()["first_name"] == name


@pytest.mark.parametrize("model", ["nowhere.Profile", "accounts.Nothing", "Profile", "accounts.SignIn"])
def test_a_check_refuses_a_wrong_profile_model(settings, model):
    settings.PROFILE_MODEL = model
    assert [error.id for error in profiles.check_profile_model()] == ["accounts.E001"]


def test_without_a_profile_model_the_lists_are_those_of_users():
    assert profiles.check_profile_model() == []
    assert (profiles.names(), profiles.sign_up_names()) == (("first_name", "last_name"), ())
