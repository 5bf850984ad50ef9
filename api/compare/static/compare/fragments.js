// Sends a form and inserts the response into the element that the form names, so that the page keeps its state.

// The latest request of each element: responses to earlier requests are ignored.
const latest = new WeakMap();

async function show(url, options, from, target) {
  const turn = {};
  latest.set(target, turn);
  const answer = await fetch(url, { credentials: "same-origin", ...options });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const found = page.querySelector(from);
  if (!found) return false;
  if (latest.get(target) === turn) target.replaceChildren(...found.childNodes);
  return true;
}

function send(form, from, target) {
  const data = new FormData(form);
  if (form.method === "post") return show(form.action, { method: "POST", body: data }, from, target);
  const url = new URL(form.action);
  url.search = new URLSearchParams(data);
  history.replaceState(null, "", url);
  return show(url, {}, from, target);
}

function announce(target) {
  const first = target.querySelector("h3, .notice, .verdicts dd");
  document.getElementById("announced").textContent = `${target.getAttribute("aria-label")}: ${first?.textContent.trim() ?? ""}`;
  target.scrollIntoView({ block: "nearest" });
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const target = document.getElementById(form.dataset.into);
  if (!target) return;
  event.preventDefault();
  // The focus does not move; screen readers announce the new content.
  if (await send(form, `#${target.id}`, target)) announce(target);
  // An unexpected page: the browser opens it.
  else form.submit();
});

// Fragments for live.js: an inspected token, the verdicts on it, and the rows that the server stores.
function inspect(token, from, target) {
  const form = document.querySelector("#take-apart form");
  const data = new FormData(form);
  data.set("token", token);
  return show(form.action, { method: "POST", body: data }, from, target);
}

document.addEventListener("compare:token", ({ detail }) => {
  inspect(detail.token, "#inspected", document.getElementById("mine"));
});

document.addEventListener("compare:verdicts", ({ detail }) => {
  inspect(detail.token, "#inspected .verdicts", detail.target);
});

document.addEventListener("compare:kept", ({ detail }) => {
  show(detail.url, {}, "#kept", document.getElementById("kept"));
});
