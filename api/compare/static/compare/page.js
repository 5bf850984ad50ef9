// The parts of the page that need no sign-in: the recommendation, the answer about a token, links to copy, sliders.

// The latest request of each element: responses to earlier requests are ignored.
const latest = new WeakMap();
const COPIED_FOR = 2000;

async function show(url, part, target, options = {}) {
  const turn = {};
  latest.set(target, turn);
  const answer = await fetch(url, { credentials: "same-origin", headers: { "X-Compare": part }, ...options });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (latest.get(target) === turn) target.replaceChildren(...page.body.childNodes);
  reveal(target);
}

function reveal(place) {
  for (const each of place.querySelectorAll(".advice [data-live]")) each.hidden = false;
}

// The recommendation follows each choice, and the address of the page follows the answers.
const questions = document.getElementById("questions");
const recommended = document.getElementById("recommended");

async function recommend() {
  const url = new URL(questions.action);
  url.search = new URLSearchParams(new FormData(questions));
  history.replaceState(null, "", url);
  await show(url, "recommendation", recommended);
  document.getElementById("announced").textContent = recommended.querySelector("h3")?.textContent.trim() ?? "";
}

questions.querySelector("button").hidden = true;
questions.addEventListener("change", recommend);
questions.addEventListener("submit", (event) => {
  event.preventDefault();
  recommend();
});

// The response of the server about a token.
const decoder = document.getElementById("decoder");
const inspected = document.getElementById("inspected");

decoder.addEventListener("submit", async (event) => {
  event.preventDefault();
  const headers = { "X-Compare": "inspection" };
  await show(decoder.action, "inspection", inspected, { method: "POST", body: new FormData(decoder), headers });
  const first = inspected.querySelector(".notice, .verdicts dd");
  if (!first) return;
  document.getElementById("announced").textContent = `${inspected.getAttribute("aria-label")}: ${first.textContent.trim()}`;
});

// It is about the token that was sent: another token has none, and a response on its way is ignored.
decoder.addEventListener("input", () => {
  latest.set(inspected, {});
  const unchecked = document.createElement("p");
  unchecked.className = "muted";
  unchecked.textContent = inspected.dataset.unchecked;
  inspected.replaceChildren(unchecked);
});

// Links to copy: to a part of the page, or with the answers.
document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const url = new URL(button.dataset.copy || location.href, new URL(questions.action));
  await navigator.clipboard.writeText(url.href);
  const label = button.textContent;
  button.textContent = button.dataset.copied;
  setTimeout(() => { button.textContent = label; }, COPIED_FOR);
});
// Browsers have no clipboard API on plain HTTP.
if (!navigator.clipboard) document.documentElement.classList.add("no-clipboard");

const tabs = document.getElementById("tabs");
tabs.addEventListener("input", () => { document.getElementById("tabs-shown").textContent = tabs.value; });

// The remaining lifetime of a token: <… data-until="seconds since 1970"><strong>…</strong></…>
const two = (number) => String(number).padStart(2, "0");
const days = new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit: "day", unitDisplay: "long" });

function remaining(seconds) {
  const [day, hour, minute] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60)];
  if (day > 0) return `${days.format(day)}, ${hour}:${two(minute % 60)}:${two(seconds % 60)}`;
  if (hour > 0) return `${hour}:${two(minute % 60)}:${two(seconds % 60)}`;
  return `${minute}:${two(seconds % 60)}`;
}

setInterval(() => {
  for (const each of document.querySelectorAll("[data-until]")) {
    const seconds = Math.max(0, Math.round(each.dataset.until - Date.now() / 1000));
    each.querySelector("strong").textContent = remaining(seconds);
    each.classList.toggle("over", seconds === 0);
  }
}, 250);

reveal(recommended);
