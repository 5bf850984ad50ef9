// Sends a form and puts the answer's element where the form says, so that the page, and what is in its memory, stays.

async function show(url, options, from, into) {
  const answer = await fetch(url, { credentials: "same-origin", ...options });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const found = page.getElementById(from);
  if (found) document.getElementById(into).replaceChildren(...found.childNodes);
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const into = form.dataset.into;
  if (!into) return;
  event.preventDefault();
  const data = new FormData(form);
  if (form.method === "post") {
    await show(form.action, { method: "POST", body: data }, into, into);
  } else {
    const url = new URL(form.action);
    url.search = new URLSearchParams(data);
    history.replaceState(null, "", url);
    await show(url, {}, into, into);
  }
});

// What live.js asks for: the token of this page taken apart, and what the server keeps by now.
document.addEventListener("compare:token", ({ detail }) => {
  const data = new FormData();
  data.set("token", detail.token);
  data.set("csrfmiddlewaretoken", document.querySelector("[name=csrfmiddlewaretoken]").value);
  show(detail.url, { method: "POST", body: data }, "inspected", "mine");
});

document.addEventListener("compare:kept", ({ detail }) => show(detail.url, {}, "kept", "kept"));
