"""The activity page in a real browser: merged acts, filters, the file."""

import pytest
from playwright.sync_api import expect

# How a browser renders pages does not depend on the stores; test_harness runs on both.
pytestmark = pytest.mark.once

ALARMS = """
from accounts.models import SecurityEvent, User
user = User.objects.get(username={name!r})
agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
for type in ("token_reused", "second_step_failed", "locked", "password_changed"):
    for _ in range(2):
        SecurityEvent(type=type, user=user, ip_address="192.0.2.7", user_agent=agent).save()
"""


def main(page):
    return page.get_by_role("main")


@pytest.fixture
def activity(anns_page, site, ann):
    """The activity page of a user with merged acts and alarms."""
    for agent in ("curl/8.9.1", "your-app/2.1 (iPhone; iOS 17.2)", "python-httpx/0.28.1"):
        site.start_client(ann, agent)
    anns_page.goto("/accounts/sign-ins/end-others/")
    main(anns_page).get_by_role("button").first.click()
    site.shell(ALARMS.format(name=ann.username))
    anns_page.goto("/accounts/activity/")
    return anns_page


@pytest.mark.long
def test_an_act_is_unfolded_by_keyboard(activity, look_at):
    act = main(activity).get_by_role("listitem").filter(has_text="You signed out 3 devices.")
    look_at(activity, "activity-merged")
    act.locator("summary").focus()
    activity.keyboard.press("Enter")
    for device in ("curl", "your-app/2.1 on iOS", "python-httpx/0.28.1"):
        expect(act).to_contain_text(device)
    look_at(activity, "activity-unfolded")


def test_alarms_are_filtered(activity, look_at):
    main(activity).get_by_role("link", name="Alarms").click()
    expect(main(activity).get_by_role("link", name="Alarms")).to_have_attribute("aria-current", "page")
    expect(main(activity)).to_contain_text("A refresh token was used twice")
    expect(main(activity)).not_to_contain_text("You signed out")
    look_at(activity, "activity-alarms")


@pytest.mark.long
def test_the_activity_is_downloaded(activity):
    with activity.expect_download() as download:
        main(activity).get_by_role("button", name="Download as CSV").click()
    file = download.value
    assert file.suggested_filename.startswith("activity-")
    assert "You downloaded your activity." in file.path().read_text()
    activity.reload()
    expect(main(activity)).to_contain_text("You downloaded your activity.")
