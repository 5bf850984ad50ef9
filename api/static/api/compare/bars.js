// Adds up what requests cost, by mode, and draws it: the longer of the two bars is the whole width.

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
  meters.set(meter.dataset.cost, { bars, sums: { wristband: 0, passport: 0 } });
}

function draw() {
  for (const { bars, sums } of meters.values()) {
    const longest = Math.max(...Object.values(sums), 1e-9);
    for (const [mode, bar] of bars) {
      bar.querySelector(".fill").setAttribute("width", (100 * sums[mode]) / longest);
      bar.querySelector("b").textContent = numbers.format(sums[mode]);
    }
  }
}

function count(mode, number) {
  const counter = document.querySelector(`[data-count=${mode}]`);
  counter.textContent = number === 0 ? 0 : Number(counter.textContent) + number;
}

document.addEventListener("compare:cost", ({ detail: { mode, costs } }) => {
  for (const [cost, { sums }] of meters) sums[mode] += costs[cost];
  count(mode, 1);
  draw();
});

document.addEventListener("compare:zero", () => {
  for (const meter of meters.values()) meter.sums = { wristband: 0, passport: 0 };
  MODES.forEach((mode) => count(mode, 0));
  draw();
});
