// The passport of the page. Its tokens are only in the memory of this module; its sign-in ends when the page is left.

import { ask, claimsOf, expect, urls, words } from "./http.js";
import { showLetters } from "./letters.js";
import { begin, ended, say } from "./stage.js";

export let tokens = null;
let expiresAt = 0;

// An act takes less time, in milliseconds.
const SPARE = 30_000;
const REFRESH = "/api/token/refresh/";
export const SIGN_OUT = "/api/token/blacklist/";
export const refreshWith = (refresh) => ask("passport", "POST", REFRESH, { body: { refresh } });

export function keep(data) {
  const { exp, iat } = claimsOf(data.access);
  tokens = data;
  // By the lifetime, and not by the clock of the computer.
  expiresAt = performance.now() + (data.expires_in ?? exp - iat) * 1000;
  showLetters(data.access);
  document.dispatchEvent(new CustomEvent("compare:token", { detail: data.access }));
}

async function getPassport() {
  const data = expect(await ask("wristband", "POST", urls.client));
  begin();
  keep(data);
}

// Each act starts with a valid passport.
export async function renewPassport() {
  if (!tokens) {
    say("starting");
    await getPassport();
  } else if (performance.now() > expiresAt - SPARE) {
    const { answer, data } = await refreshWith(tokens.refresh);
    if (answer.ok) keep(data);
    else await getPassport();
  }
}

// Its sign-in has ended.
export function lose() {
  tokens = null;
  ended(words.script);
  document.getElementById("cue-after").hidden = false;
}

// The question at the stage and in its act, with the buttons of its answers. The focus stays beside the question.
export let question = "none";

export function showQuestion(when) {
  if (when === question) return;
  question = when;
  const focused = document.activeElement.closest("[data-when]")?.parentElement;
  for (const each of document.querySelectorAll("[data-when]")) each.hidden = !each.dataset.when.split(" ").includes(when);
  focused?.querySelector(".actions:not([hidden]) button")?.focus();
}

export function left() {
  const seconds = Math.max(0, Math.round((expiresAt - performance.now()) / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

setInterval(() => {
  if (!tokens) return;
  if (performance.now() > expiresAt && question === "signed-in") showQuestion("expired");
  for (const each of document.querySelectorAll("[data-left]")) each.textContent = left();
}, 250);

addEventListener("pagehide", () => {
  if (!tokens) return;
  // This request continues after the page is closed.
  fetch(SIGN_OUT, {
    method: "POST",
    keepalive: true,
    credentials: "omit",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ refresh: tokens.refresh }),
  });
  tokens = null;
});
