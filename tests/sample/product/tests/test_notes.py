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


def test_a_template_of_the_product_replaces_one(browser, db):
    assert "Write it down." in browser().get("/").content.decode()
