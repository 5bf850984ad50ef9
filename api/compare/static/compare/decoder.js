// Decodes a token in the browser while it is typed. Nothing is verified here: the button asks the server.

const input = document.getElementById("token");
const decoded = document.getElementById("decoded");
const text = decoded.querySelector(".token-text");
const list = decoded.querySelector(".claims");
const problem = decoded.querySelector("[data-slot=problem]");
const words = document.getElementById("words").dataset;
const glossary = new Map([...document.querySelectorAll("#glossary dt")].map((each) => [each.textContent, each.nextElementSibling.textContent]));
const TIMES = ["exp", "iat", "nbf", "auth_time"];
const PARTS = ["header", "claims", "signature"];
const MOST_CLAIMS = 30;
const dates = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "medium" });

let good = null;

const encode = (claims) => btoa(JSON.stringify(claims)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

function read(part) {
  try {
    const bytes = Uint8Array.from(atob(part.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return claims && typeof claims === "object" && !Array.isArray(claims) ? claims : null;
  } catch {
    return null;
  }
}

function element(name, content, part) {
  const made = document.createElement(name);
  made.append(...[content].flat());
  if (part) {
    made.className = `t-${part}`;
    made.dataset.part = part;
  }
  return made;
}

function claim(part, name, value) {
  const shown = typeof value === "string" ? value : JSON.stringify(value);
  const meaning = element("span", glossary.get(name) ?? words.otherClaim);
  const date = TIMES.includes(name) && Number.isFinite(value) && Math.abs(value) < 8.64e12 ? ` ${dates.format(value * 1000)}` : "";
  return element("div", [element("dt", name), element("dd", [element("code", shown), date, meaning])], part);
}

function show() {
  const parts = input.value.trim().split(".");
  const claims = parts.slice(0, 2).map(read);
  const isToken = parts.length === 3 && claims.every(Boolean);
  decoded.hidden = !input.value.trim();
  document.getElementById("take-apart").classList.toggle("is-decoding", isToken);
  problem.hidden = isToken;
  problem.textContent = words.noToken;
  text.hidden = !isToken;
  if (!isToken) {
    list.replaceChildren();
    return;
  }
  text.replaceChildren(...parts.flatMap((part, at) => [...(at ? ["."] : []), element("span", part, PARTS[at])]));
  const shown = claims.flatMap((each, at) => Object.entries(each).slice(0, MOST_CLAIMS).map(([name, value]) => claim(PARTS[at], name, value)));
  list.replaceChildren(...shown, claim("signature", "signature", `${parts[2].slice(0, 12)}…`));
}

input.addEventListener("input", show);

// A part and its claims point at each other.
decoded.addEventListener("pointerover", ({ target }) => {
  decoded.dataset.on = target.closest("[data-part]")?.dataset.part ?? "";
});
decoded.addEventListener("pointerleave", () => { decoded.dataset.on = ""; });

// Examples: of the passport that the page has, or of the recording.

document.addEventListener("compare:token", ({ detail }) => { good = detail; });

const examples = {
  good: () => good,
  expired: () => decoded.dataset.expired,
  tampered() {
    const [header, payload, signature] = (good ?? decoded.dataset.expired).split(".");
    const claims = read(payload);
    return [header, encode({ ...claims, sub: "1", username: "admin" }), signature].join(".");
  },
  none() {
    const [, payload] = (good ?? decoded.dataset.expired).split(".");
    return `${encode({ alg: "none", typ: "at+jwt" })}.${payload}.`;
  },
};

for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", () => {
    const token = examples[button.dataset.example]();
    // Only the page of a visitor who has started has a good one.
    if (!token) {
      const start = document.querySelector("#begin button");
      if (start) start.click();
      else document.getElementById("start").click();
      return;
    }
    input.value = token;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  });
}

document.querySelector(".examples").hidden = false;
show();
