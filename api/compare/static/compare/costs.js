// Draws the medians of the costs of requests, beside the measured bars, and sends a run of requests.

import { say } from "./stage.js";

const MODES = ["wristband", "passport"];
const RUN = 50;
// Of fewer requests, the median of this cost is not shown.
const LEAST = { milliseconds: 10 };
const numbers = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 1 });
const section = document.getElementById("costs");
const progress = section.querySelector("progress");
const stop = section.querySelector("[data-do=stop]");

let costs = none();
let isStopped = false;

function none() {
  return Object.fromEntries(MODES.map((mode) => [mode, []]));
}

function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function draw() {
  for (const meter of section.querySelectorAll(".meter")) {
    const bars = [...meter.querySelectorAll("[data-live-bar]")].map((bar) => {
      const mode = MODES.find((each) => bar.classList.contains(each));
      const cost = bar.dataset.liveBar;
      const isShown = costs[mode].length >= (LEAST[cost] ?? 1);
      return [bar, isShown ? median(costs[mode].map((each) => each[cost])) : null];
    });
    const scale = Number(meter.dataset.scale) || Math.max(...bars.map(([, value]) => value), 1e-9);
    for (const [bar, value] of bars) {
      bar.querySelector(".fill").setAttribute("width", Math.min(100, (100 * value) / scale));
      bar.querySelector("b").textContent = value === null ? "–" : numbers.format(value);
    }
  }
}

// Exchanges of both modes. Those without costs are from another page (Sec-Fetch-Site), or were refused.
export function showCosts(exchanges) {
  if (!exchanges.every((each) => each.costs && each.answer.ok)) return;
  for (const each of exchanges) costs[each.mode].push(each.costs);
  draw();
}

export async function measure(byCookie, byToken) {
  costs = none();
  isStopped = false;
  progress.value = 0;
  progress.hidden = false;
  stop.hidden = false;
  let done = 0;
  try {
    while (done < RUN && !isStopped) {
      showCosts([await byCookie(), await byToken()]);
      done += 1;
      progress.value = done;
    }
  } finally {
    progress.hidden = true;
    // The focus stays in the section.
    if (document.activeElement === stop) section.querySelector("[data-do=run]").focus();
    stop.hidden = true;
  }
  const shown = (mode, cost) => numbers.format(median(costs[mode].map((each) => each[cost])));
  const values = Object.fromEntries(MODES.flatMap((mode) => [[mode, shown(mode, "statements")], [`${mode}-ms`, shown(mode, "milliseconds")]]));
  return { exchanges: [], name: isStopped ? "stopped" : "run", values: { done, ...values } };
}

stop.addEventListener("click", () => { isStopped = true; });
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") isStopped = true;
});
