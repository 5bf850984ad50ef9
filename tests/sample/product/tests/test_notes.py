def test_page_and_api_share_notes_until_the_sign_in_ends(ann, browser_of, client_of):
    browser, client = browser_of(ann), client_of(ann)
    assert browser.post("/notes/", {"text": "Buy milk"}).status_code == 302
    assert client.get("/api/notes/").json()["results"][0]["text"] == "Buy milk"
    client.post("/api/sign-ins/end-all/")
    assert client.get("/api/notes/").status_code == 401
    assert browser.get("/notes/").status_code == 302


def test_the_page_is_translated(ann, browser_of):
    page = browser_of(ann).get("/notes/", headers={"accept-language": "de"}).content.decode()
    assert "<h1>Notizen</h1>" in page
    assert ">Text</label>" in page


def test_each_page_of_a_user_links_to_the_notes(ann, browser_of):
    browser = browser_of(ann)
    assert '<a href="/notes/">Notes</a>' in browser.get("/accounts/security/").content.decode()
    assert '<a href="/notes/" aria-current="page">Notes</a>' in browser.get("/notes/").content.decode()


def test_a_template_of_the_product_replaces_one(browser, db):
    assert "Write it down." in browser().get("/").content.decode()
