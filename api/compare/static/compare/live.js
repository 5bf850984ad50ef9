// Sends real requests with two sign-ins of the visitor: the browser's by cookie, and a client's by token. The tokens
// are only in the memory of this module; the sign-in of the client ends when the visitor leaves the page.

const stage = document.getElementById("stage");
const urls = stage.dataset;
const words = document.getElementById("words").dataset;
const RUN = 50;
const RACERS = 10;

let tokens = null;
let password = document.getElementById("throw-away-password")?.textContent;
let started = false;
let busy = false;
let stopped = false;

const tell = (name, detail) => document.dispatchEvent(new CustomEvent(`compare:${name}`, { detail }));
const claims = (token) => JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));

class Unexpected extends Error {
  constructor({ method, url, answer }) {
    super(`${method} ${url} ${answer.status}`);
  }
}

// Requests

async function ask(mode, method, url, { body, bearer } = {}) {
  const headers = { Accept: "application/json", "X-Compare": "1" };
  const options = { method, headers, cache: "no-store", credentials: mode === "wristband" ? "same-origin" : "omit" };
  if (body) {
    headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  if (mode === "wristband" && method !== "GET") {
    headers["X-CSRFToken"] = document.querySelector("[name=csrfmiddlewaretoken]").value;
  }
  const answer = await fetch(url, options);
  const text = await answer.text();
  const costs = costsOf(answer.headers.get("Server-Timing"));
  if (costs) tell("cost", { mode, costs });
  return { mode, method, url, headers, body, answer, text, costs, data: text ? JSON.parse(text) : null };
}

// Null if the response has no costs: the server sends them only to its own pages (Sec-Fetch-Site).
function costsOf(header) {
  if (!header) return null;
  const told = (name, what) => Number(header.match(new RegExp(`\\b${name}\\b[^,]*\\b${what}="?([\\d.]+)`))?.[1] ?? 0);
  return {
    bytes: told("sent", "desc") + told("answered", "desc"),
    credential: told("credential", "desc"),
    statements: told("sql", "desc"),
    trips: told("redis", "desc"),
    milliseconds: told("app", "dur"),
    hash: told("hash", "dur"),
  };
}

const whoByCookie = () => ask("wristband", "GET", urls.who);
const whoByToken = (bearer = tokens.access) => ask("passport", "GET", urls.who, { bearer });
const refreshWith = (refresh) => ask("passport", "POST", "/api/token/refresh/", { body: { refresh } });

async function renew() {
  const exchange = await refreshWith(tokens.refresh);
  if (!exchange.answer.ok) {
    over();
    throw new Unexpected(exchange);
  }
  tokens = exchange.data;
  return exchange;
}

// Display

const SECRETS = new Set(["old_password", "new_password"]);

function shortened(text) {
  return text.replace(/eyJ[\w-]+\.[\w-]+\.[\w-]+/g, (token) => `${token.slice(0, 8)}…${token.slice(-4)}`);
}

function written(data) {
  return shortened(JSON.stringify(data, (name, value) => (SECRETS.has(name) ? "…" : value), 2));
}

function requestText({ mode, method, url, headers, body }) {
  const lines = [`${method} ${url}`];
  if (mode === "wristband") lines.push(`Cookie: ${urls.cookie}=… (${urls.byBrowser})`);
  for (const [name, value] of Object.entries(headers)) {
    lines.push(`${name}: ${name === "X-CSRFToken" ? "…" : shortened(value)}`);
  }
  return body ? `${lines.join("\n")}\n\n${written(body)}` : lines.join("\n");
}

function answerText({ answer, data }) {
  const lines = [`${answer.status} ${answer.statusText}`, ...[...answer.headers].map((each) => each.join(": "))];
  return data ? `${lines.join("\n")}\n\n${written(data)}` : lines.join("\n");
}

function costsText(costs) {
  if (!costs) return words.untold;
  const { bytes, credential, statements, trips, milliseconds, hash } = costs;
  const ofThem = credential ? ` (${credential} ${words.credential})` : "";
  const hashed = hash ? ` (+ ${hash} ms ${words.hash})` : "";
  return [
    `${bytes} ${words.bytes}${ofThem}`,
    `${statements} ${words.statements}`,
    `${trips} ${words.trips}`,
    `${milliseconds} ms${hashed}`,
  ].join(" · ");
}

function element(exchange) {
  const details = document.getElementById("exchange").content.firstElementChild.cloneNode(true);
  const { mode, method, url, answer, costs } = exchange;
  details.classList.add(mode, answer.ok ? "good" : "bad");
  fill(details, {
    mode: words[mode],
    line: `${method} ${url}`,
    status: answer.status,
    costs: costsText(costs),
    request: requestText(exchange),
    answer: answerText(exchange),
  });
  return details;
}

function fill(root, values) {
  for (const [name, value] of Object.entries(values)) root.querySelector(`[data-slot=${name}]`).textContent = value;
}

function say(box, name, values = {}) {
  for (const each of box.querySelectorAll("[data-say]")) each.hidden = each.dataset.say !== name;
  if (name) fill(box, values);
}

function showState(name, values) {
  say(document.querySelector(".start"), name, values);
  for (const button of stage.querySelectorAll("[data-do]")) setUsable(button, isUsable(button.dataset.do));
  stage.setAttribute("aria-busy", busy);
}

// Not `disabled`: a disabled button loses the focus.
function setUsable(button, usable) {
  button.setAttribute("aria-disabled", String(!usable));
}

function state() {
  if (tokens) return "running";
  return started ? "over" : null;
}

function isUsable(action) {
  if (action === "stop") return busy;
  if (busy) return false;
  if (action === "zero") return true;
  if (action === "start") return tokens === null;
  if (action === "end") return tokens !== null;
  // The visitor requests the first passport; after that, each experiment requests a new one if it needs one.
  return started && (action !== "password" || Boolean(password));
}

function showToken() {
  tell("token", { token: tokens.access });
}

function showVerdicts(box, token) {
  const target = box.querySelector(".verdicts");
  target.hidden = false;
  tell("verdicts", { token, target });
}

// The sign-in of the client has ended. Its token stays visible, to show that it is refused.
function over() {
  showToken();
  tokens = null;
  tell("kept", { url: urls.kept });
}

// Actions of the buttons: each returns a text and the exchanges to display.

const actions = {
  async start() {
    const exchange = await ask("wristband", "POST", urls.client);
    // The password was entered too long ago: the page links to the form that asks for it.
    if (exchange.data.code === "proof_needed") location.reload();
    if (!exchange.answer.ok) throw new Unexpected(exchange);
    tokens = exchange.data;
    started = true;
    showToken();
    return { exchanges: [exchange] };
  },

  async end() {
    const exchange = await ask("passport", "POST", "/api/token/blacklist/", { body: { refresh: tokens.refresh } });
    over();
    return { exchanges: [exchange] };
  },

  async who() {
    const exchanges = [await whoByCookie(), await whoByToken()];
    if (exchanges[1].answer.ok) return { said: "who", exchanges };
    over();
    return { said: "elsewhere", exchanges };
  },

  async tamper(box) {
    const [header, payload, signature] = tokens.access.split(".");
    const at = Math.floor(payload.length / 2);
    const letter = payload[at] === "x" ? "y" : "x";
    const changed = [header, payload.slice(0, at) + letter + payload.slice(at + 1), signature].join(".");
    const place = header.length + 1 + at + 1;
    const exchanges = [await whoByToken(changed)];
    showVerdicts(box, changed);
    return { said: "tamper", values: { place, letter }, exchanges };
  },

  async refresh() {
    const exchange = await renew();
    showToken();
    return { said: "refresh", exchanges: [exchange] };
  },

  async race() {
    const { refresh } = tokens;
    const exchanges = await Promise.all(Array.from({ length: RACERS }, () => refreshWith(refresh)));
    const good = exchanges.filter(({ answer }) => answer.ok);
    const successors = new Set(good.map(({ data }) => claims(data.refresh).jti)).size;
    if (good.length) tokens = good.at(-1).data;
    showToken();
    return { said: "race", values: { answers: exchanges.length, good: good.length, successors }, exchanges };
  },

  async again() {
    const { refresh } = tokens;
    const first = await renew();
    const second = await refreshWith(refresh);
    if (!second.answer.ok) {
      over();
      return { said: "strict", exchanges: [first, second] };
    }
    showToken();
    if (claims(first.data.refresh).jti !== claims(second.data.refresh).jti) throw new Unexpected(second);
    return { said: "again", exchanges: [first, second] };
  },

  async theft(box) {
    const { refresh } = tokens;
    const exchanges = [await renew(), await renew(), await refreshWith(refresh), await whoByToken()];
    showVerdicts(box, tokens.access);
    over();
    return { said: "theft", exchanges };
  },

  async out(box) {
    const { access } = tokens;
    const { exchanges } = await actions.end();
    showVerdicts(box, access);
    return { said: "out", exchanges: [...exchanges, await whoByToken(access)] };
  },

  async password(box) {
    const { access } = tokens;
    const next = Array.from(crypto.getRandomValues(new Uint8Array(15)), (byte) => (byte % 36).toString(36)).join("-");
    const body = { old_password: password, new_password: next };
    const change = await ask("wristband", "POST", "/api/password/change/", { body });
    if (!change.answer.ok) throw new Unexpected(change);
    password = next;
    showVerdicts(box, access);
    over();
    return { said: "password", exchanges: [change, await whoByCookie(), await whoByToken(access)] };
  },

  async run(box) {
    const progress = box.querySelector("progress");
    tell("zero");
    stopped = false;
    progress.value = 0;
    progress.hidden = false;
    let done = 0;
    try {
      while (done < RUN && !stopped) {
        await whoByCookie();
        await whoByToken();
        done += 1;
        progress.value = done;
      }
    } finally {
      progress.hidden = true;
    }
    return { said: stopped ? "stopped" : "run", values: stopped ? { done } : {}, exchanges: [] };
  },

  async zero() {
    tell("zero");
    return { said: null, exchanges: [] };
  },
};

async function perform(button) {
  const box = button.closest(".card");
  busy = true;
  showState(state());
  let trouble = null;
  box.querySelector(".verdicts")?.toggleAttribute("hidden", true);
  try {
    if (!tokens && !["start", "zero"].includes(button.dataset.do)) await actions.start();
    const { said, values, exchanges } = await actions[button.dataset.do](box);
    if (!box.matches(".start")) say(box, said, values);
    box.querySelector(".exchanges")?.replaceChildren(...exchanges.map(element));
  } catch (error) {
    trouble = error.message;
  }
  busy = false;
  if (trouble) showState("trouble", { trouble });
  else showState(state());
}

stage.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-do]");
  if (!button || !isUsable(button.dataset.do)) return;
  if (button.dataset.do === "stop") stopped = true;
  else perform(button);
});

stage.addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && busy) stopped = true;
});

addEventListener("pagehide", () => {
  if (!tokens) return;
  // This request continues after the page is closed.
  fetch("/api/token/blacklist/", {
    method: "POST",
    keepalive: true,
    credentials: "omit",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ refresh: tokens.refresh }),
  });
  tokens = null;
});

// The page was restored from the browser's cache: its tokens are revoked.
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());

// The response to the form shows the password once; a reload must not send the form again.
if (password) history.replaceState(null, "", urls.kept);
document.getElementById("without").remove();
stage.hidden = false;
showState(state());
