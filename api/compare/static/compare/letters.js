// Act 2: the letters of the token, of which the reader changes one, and the checks of the server.

import { words } from "./http.js";

const SHOWN_SIGNATURE = 8;
const letters = document.getElementById("letters");
const picker = document.getElementById("letter");
const place = { header: words.placeHeader, claims: words.placeClaims, signature: words.placeSignature };

let token = null;
let changed = null;

// The signature is shortened, because the complete text would be a usable token.
function shown() {
  const [header, claims, signature] = token.split(".");
  const parts = [["header", header], ["claims", claims], ["signature", signature.slice(0, SHOWN_SIGNATURE)]];
  return parts.flatMap(([part, text], at) => [...(at ? [["", "."]] : []), ...[...text].map((letter) => [part, letter])]);
}

const button = document.querySelector("[data-do=tamper]");
const { change: changeIt, back } = button.dataset;
const tiles = document.querySelectorAll("#act-tamper [data-check]");

// The act has not run with this passport yet.
function clearTiles() {
  for (const tile of tiles) {
    tile.className = "unasked";
    tile.querySelector("dd").textContent = "–";
  }
}

clearTiles();

export function showLetters(access) {
  token = access;
  changed = null;
  clearTiles();
  draw();
}

function draw() {
  letters.replaceChildren(...shown().map(([part, letter], at) => {
    const each = document.createElement("span");
    each.textContent = letter;
    each.className = part && `t-${part}`;
    if (part) each.dataset.at = at;
    return each;
  }), "…");
  picker.max = letters.children.length;
  point();
}

function point() {
  const at = picker.value - 1;
  const [part, letter] = shown()[at];
  const isChanged = changed?.at === at;
  button.textContent = isChanged ? back : changeIt;
  letters.querySelector(".at")?.classList.remove("at");
  letters.children[at].classList.add("at");
  document.getElementById("letter-shown").textContent = `${at + 1}: “${letter}”${isChanged ? ` → “${changed.letter}”` : ""}${part && ` (${place[part]})`}`;
}

// Changes the letter that is picked, or changes it back. Returns the token to send, and the change.
export function change() {
  const at = picker.value - 1;
  const isBack = changed?.at === at || token[at] === ".";
  changed = isBack ? null : { at, letter: token[at] === "x" ? "y" : "x" };
  draw();
  if (!changed) return { sent: token, changed };
  letters.children[at].textContent = changed.letter;
  letters.children[at].classList.add("changed");
  return { sent: token.slice(0, at) + changed.letter + token.slice(at + 1), changed };
}

// Asks the server for its checks, and flips the tiles.
export async function showTiles(sent) {
  const form = document.getElementById("decoder");
  const data = new FormData(form);
  data.set("token", sent);
  const answer = await fetch(form.action, { method: "POST", body: data, headers: { "X-Compare": "inspection" } });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const states = document.getElementById("tiles").dataset;
  let isRefused = false;
  for (const tile of tiles) {
    const found = page.querySelector(`[data-check=${tile.dataset.check}]`)?.className;
    if (!found) continue;
    // The server stops at the first check that fails.
    const state = isRefused ? "unasked" : found;
    isRefused ||= state === "bad";
    tile.className = `${state} flips`;
    tile.querySelector("dd").textContent = states[state];
    tile.addEventListener("animationend", () => tile.classList.remove("flips"), { once: true });
  }
}

picker.addEventListener("input", () => token && point());
// A click on a letter is the same as the button.
letters.addEventListener("click", ({ target }) => {
  if (!target.dataset.at) return;
  picker.value = Number(target.dataset.at) + 1;
  document.querySelector("[data-do=tamper]").click();
});
