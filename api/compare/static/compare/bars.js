// Draws the costs of a request for each mode: the median of all requests. The longer bar has the full width.

const MODES = ["wristband", "passport"];
const meters = new Map();
const numbers = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 1 });

for (const meter of document.querySelectorAll("[data-cost]")) {
  const bars = MODES.map((mode) => {
    const bar = document.getElementById("bar").content.firstElementChild.cloneNode(true);
    bar.classList.add(mode);
    bar.querySelector("[data-slot=mode]").textContent = document.getElementById("words").dataset[mode];
    meter.append(bar);
    return [mode, bar];
  });
  meters.set(meter.dataset.cost, { bars, costs: none() });
}

function none() {
  return Object.fromEntries(MODES.map((mode) => [mode, []]));
}

function median(values) {
  if (values.length === 0) return 0;
  const sorted = [...values].sort((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function draw() {
  for (const { bars, costs } of meters.values()) {
    const medians = Object.fromEntries(MODES.map((mode) => [mode, median(costs[mode])]));
    const longest = Math.max(...Object.values(medians), 1e-9);
    for (const [mode, bar] of bars) {
      bar.querySelector(".fill").setAttribute("width", (100 * medians[mode]) / longest);
      bar.querySelector("b").textContent = numbers.format(medians[mode]);
    }
  }
}

function count(mode, number) {
  const counter = document.querySelector(`[data-count=${mode}]`);
  counter.textContent = number === 0 ? 0 : Number(counter.textContent) + number;
}

document.addEventListener("compare:cost", ({ detail: { mode, costs } }) => {
  for (const [cost, meter] of meters) meter.costs[mode].push(costs[cost]);
  count(mode, 1);
  draw();
});

document.addEventListener("compare:zero", () => {
  for (const meter of meters.values()) meter.costs = none();
  MODES.forEach((mode) => count(mode, 0));
  draw();
});
