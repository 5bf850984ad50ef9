// Draws the stage: a dot for each request, its answer, the lists of the server, the counters and the caption.

import { words } from "./http.js";

const picture = document.getElementById("picture");
const sky = document.getElementById("sky");
const caption = document.getElementById("caption");
const sentences = document.getElementById("sentences").content;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const LEG = 520;
const STEPS = 16;
// Where the lane of a passport meets the check of the signature.
const GATE = { passport: 0.47, thief: 0.52 };
const STARTS = { wristband: [172, 58], passport: [172, 158], thief: [150, 236] };
const MOST_CHIPS = 2;

function make(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Dots

// Keyframes along a lane, from one part of its length to another.
function frames(lane, from, to, shift) {
  const path = document.getElementById(`lane-${lane}`);
  const length = path.getTotalLength();
  return Array.from({ length: STEPS + 1 }, (_, step) => {
    const { x, y } = path.getPointAtLength(length * (from + ((to - from) * step) / STEPS));
    return { transform: `translate(${x}px, ${y + shift}px)` };
  });
}

// Animations do not finish in a hidden tab: no act waits for them there.
async function animate(element, keyframes, options) {
  if (calm.matches || document.hidden) return;
  await element.animate(keyframes, { fill: "both", easing: "ease-in-out", ...options }).finished;
}

function pill(lane, text, ok) {
  const [x, y] = STARTS[lane];
  sky.querySelector(`[data-pill=${lane}]`)?.remove();
  const label = make("text", { y: 5.5, "text-anchor": "middle" });
  label.textContent = text;
  const width = 20 + 9 * String(text).length;
  const box = make("rect", { x: -width / 2, y: -12, width, height: 24, rx: 12 });
  sky.append(make("g", { class: `pill ${ok ? "ok" : "no"}`, transform: `translate(${x} ${y})`, "data-pill": lane }, box, label));
}

// Dots on their way to the server.
let flying = 0;

// Sends a request while its dot travels, and calls `landed` with the exchange when it arrives. The dot of a refused request turns at the gate or at the blocklist.
async function fly(lane, request, { shift = 0, delay = 0, gate = false, landed } = {}) {
  const end = gate ? GATE[lane] : 1;
  const dot = make("g", { class: `dot of-${lane}` }, make("circle", { r: 8 }));
  if (!calm.matches) sky.append(dot);
  flying += 1;
  const arrived = Promise.all([request(), animate(dot, frames(lane, 0, end, shift), { duration: LEG, delay })]);
  const [exchange] = await arrived.finally(() => { flying -= 1; });
  countOf(exchange);
  landed?.(exchange);
  if (lane !== "wristband") picture.classList.toggle("is-broken", gate);
  dot.classList.add(exchange.answer.ok ? "ok" : "no");
  await animate(dot, frames(lane, end, 0.1, shift), { duration: LEG });
  dot.remove();
  return exchange;
}

export async function travel(lane, request, options) {
  sky.querySelector(`[data-pill=${lane}]`)?.remove();
  const exchange = await fly(lane, request, options);
  pill(lane, exchange.answer.status, exchange.answer.ok);
  return exchange;
}

// Many requests at once, with one answer on the stage.
export async function swarm(lane, requests) {
  sky.querySelector(`[data-pill=${lane}]`)?.remove();
  const middle = (requests.length - 1) / 2;
  const each = (request, at) => fly(lane, request, { shift: (at - middle) * 3.2, delay: at * 24 });
  const exchanges = await Promise.all(requests.map(each));
  const good = exchanges.filter(({ answer }) => answer.ok).length;
  pill(lane, `${good}/${requests.length}`, good === requests.length);
  return exchanges;
}

// The lists of the server

const chips = [];
const CHIP_WIDTH = 146;

// A text that is too long for its entry is condensed.
function write(label, text) {
  label.textContent = text;
  if (label.getComputedTextLength() < CHIP_WIDTH) return;
  label.setAttribute("textLength", CHIP_WIDTH);
  label.setAttribute("lengthAdjust", "spacingAndGlyphs");
}

export function begin() {
  for (const chip of chips) write(chip.querySelector("text"), words.oldPassport);
  picture.classList.remove("is-ended", "is-out", "is-broken", "has-thief");
  sky.replaceChildren();
  for (const chip of chips) sky.append(chip);
}

export function ended(name) {
  picture.classList.add("is-ended", "has-chips");
  const label = make("text", { x: 364, y: 20 });
  const chip = make("g", { class: "chip" }, make("rect", { x: 354, width: 166, height: 28, rx: 6 }), label);
  chips.unshift(chip);
  if (chips.length > MOST_CHIPS) chips.pop().remove();
  chips.forEach((each, at) => each.setAttribute("transform", `translate(0 ${194 + at * 34})`));
  sky.append(chip);
  write(label, name);
  animate(label, [{ opacity: 0 }, { opacity: 1 }], { duration: LEG });
}

export async function stamp(text) {
  // The frame has one size in every language.
  const label = make("text", { y: 7, "text-anchor": "middle", textLength: 122, lengthAdjust: "spacingAndGlyphs" });
  label.textContent = text;
  const inner = make("g", {}, make("rect", { x: -72, y: -17, width: 144, height: 34, rx: 5 }), label);
  sky.querySelector(".stamp")?.remove();
  sky.append(make("g", { class: "stamp", transform: "translate(246 236) rotate(-7)" }, inner));
  await animate(inner, [{ transform: "scale(2.4)", opacity: 0 }, { transform: "scale(1)", opacity: 1 }], { duration: 260, easing: "ease-in" });
}

// The sign-in of the browser has ended too.
export async function signedOut(text) {
  picture.classList.add("is-out");
  await stamp(text);
}

export function thief() {
  picture.classList.add("has-thief");
}

// Words

// The caption is a live region: screen readers announce each sentence. Returns its nodes for other places.
export function say(name, values = {}) {
  const sentence = sentences.querySelector(`[data-say="${name}"]`).cloneNode(true);
  for (const [slot, value] of Object.entries(values)) {
    const place = sentence.querySelector(`[data-slot=${slot}]`);
    if (place) place.textContent = value;
  }
  caption.replaceChildren(...sentence.cloneNode(true).childNodes);
  caption.classList.toggle("bad", /^(out|theft|tamper|trouble|elsewhere)/.test(name));
  return sentence.childNodes;
}

const counters = Object.fromEntries([...document.querySelectorAll("[data-count]")].map((each) => [each.dataset.count, each]));
const count = (name, number) => { counters[name].textContent = Number(counters[name].textContent) + number; };

function countOf({ answer, costs }) {
  count("requests", 1);
  count("refused", answer.status === 401 ? 1 : 0);
  count("statements", costs?.statements ?? 0);
  count("trips", costs?.trips ?? 0);
}

// The counters follow the dots: a request with a dot counts when its dot arrives.
document.addEventListener("compare:exchange", ({ detail }) => flying || countOf(detail));
