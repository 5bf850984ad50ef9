// Results beside the acts: the requests of an act, the lanes of a browser app, the mail, the length of the blocklist.

import { ask, expect, urls, words } from "./http.js";

export function showLane(lane, exchanges) {
  const row = document.querySelector(`[data-lane=${lane}]`);
  row.querySelector("[data-slot=requests]").textContent = exchanges.length;
  row.querySelector("[data-slot=refreshes]").textContent = exchanges.filter(({ url }) => url.endsWith("/refresh/")).length;
  row.classList.add("is-live");
}

export async function showAlarm() {
  const data = expect(await ask("wristband", "GET", urls.alarm));
  const letter = document.getElementById("alarm");
  letter.querySelector(".subject").textContent = data.subject;
  letter.querySelector(".mail-text").textContent = data.text;
  letter.classList.add("arrives");
}

export async function showKept() {
  const answer = await fetch(urls.kept, { credentials: "same-origin" });
  const kept = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("kept");
  if (kept) document.getElementById("kept").replaceChildren(...kept.childNodes);
}

export function showTrace(act, exchanges) {
  const trace = act.querySelector(".trace");
  if (!trace || !exchanges.length) return;
  const lines = new Map();
  for (const { mode, method, url, answer, costs } of exchanges) {
    const key = `${mode} ${method} ${url} ${answer.status}`;
    const line = lines.get(key) ?? { mode, method, url, answer, times: 0, statements: 0 };
    lines.set(key, { ...line, times: line.times + 1, statements: line.statements + (costs?.statements ?? NaN) });
  }
  trace.replaceChildren(...[...lines.values()].map(({ mode, method, url, answer, times, statements }) => {
    const item = document.createElement("li");
    item.className = `${mode} ${answer.ok ? "ok" : "no"} is-live`;
    const parts = [["code", `${method} ${url}`], ["strong", answer.status], ...(times > 1 ? [["b", `× ${times}`]] : []), ["span", Number.isNaN(statements) ? "" : `${statements} ${times > 1 ? words.inTotal : "SQL"}`]];
    item.append(...parts.flatMap(([name, text]) => {
      const part = document.createElement(name);
      part.textContent = text;
      if (name === "span") part.className = "muted";
      return [part, " "];
    }));
    return item;
  }));
}
