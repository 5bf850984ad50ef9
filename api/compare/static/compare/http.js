// Sends the requests of the page, with their costs, and shows them in the drawer "Show HTTP".

export const stage = document.getElementById("stage");
export const urls = stage.dataset;
export const words = document.getElementById("words").dataset;

const http = stage.querySelector(".http");
const MOST_SHOWN = 30;
let isRecording = true;

export class Unexpected extends Error {
  constructor(exchange) {
    super(`${exchange.method} ${exchange.url} ${exchange.answer.status}`);
    this.exchange = exchange;
  }
}

export function expect(exchange) {
  if (!exchange.answer.ok) throw new Unexpected(exchange);
  return exchange.data;
}

export const claimsOf = (token) => JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));

export async function ask(mode, method, url, { body, bearer } = {}) {
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
  const data = answer.headers.get("Content-Type")?.includes("json") && text ? JSON.parse(text) : null;
  const exchange = { mode, method, url, headers, body, answer, costs, data };
  show(exchange);
  document.dispatchEvent(new CustomEvent("compare:exchange", { detail: exchange }));
  return exchange;
}

// Null if the response has no costs: the server sends them only to its own pages (Sec-Fetch-Site).
function costsOf(header) {
  if (!header) return null;
  const told = (name, what) => Number(header.match(new RegExp(`\\b${name}\\b[^,]*\\b${what}="?([\\d.]+)`))?.[1] ?? 0);
  return {
    bytes: told("sent", "desc") + told("answered", "desc"),
    statements: told("sql", "desc"),
    trips: told("redis", "desc"),
    milliseconds: told("app", "dur"),
  };
}

export function costsText(costs) {
  return costs ? `${costs.statements} SQL · ${costs.milliseconds} ms` : "";
}

// The drawer

function shortened(text) {
  return text.replace(/eyJ[\w-]+\.[\w-]+\.[\w-]+/g, (token) => `${token.slice(0, 8)}…${token.slice(-4)}`);
}

const written = (data) => (data ? `\n\n${shortened(JSON.stringify(data, null, 2))}` : "");

function show(exchange) {
  const { mode, method, url, headers, body, answer, costs, data } = exchange;
  const shown = document.getElementById("exchange").content.firstElementChild.cloneNode(true);
  const bearer = headers.Authorization && `Authorization: ${shortened(headers.Authorization)}`;
  const credential = mode === "wristband" ? `Cookie: ${urls.cookie}=… (${urls.byBrowser})` : bearer;
  const fill = (name, text) => { shown.querySelector(`[data-slot=${name}]`).textContent = text; };
  shown.classList.add(mode, answer.ok ? "ok" : "no");
  shown.querySelector("code").textContent = `${method} ${url}`;
  shown.querySelector("strong").textContent = answer.status;
  shown.querySelector("summary span").textContent = costsText(costs);
  fill("request", [`${method} ${url}`, credential].filter(Boolean).join("\n") + written(body));
  fill("sent", Object.entries(headers).map(([name, value]) => `${name}: ${name === "X-CSRFToken" ? "…" : shortened(value)}`).join("\n"));
  fill("answer", `${answer.status} ${answer.statusText}${written(data)}`);
  fill("received", [...answer.headers].map((each) => each.join(": ")).join("\n"));
  if (isRecording) http.replaceChildren();
  isRecording = false;
  http.prepend(shown);
  while (http.children.length > MOST_SHOWN) http.lastElementChild.remove();
}
