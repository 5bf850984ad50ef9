// Shows the remaining lifetime of a token: <… data-until="seconds since 1970"><strong>…</strong></…>

const days = new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit: "day", unitDisplay: "long" });
const two = (number) => String(number).padStart(2, "0");

function left(seconds) {
  const [day, hour, minute] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60)];
  if (day > 0) return `${days.format(day)}, ${hour}:${two(minute % 60)}:${two(seconds % 60)}`;
  if (hour > 0) return `${hour}:${two(minute % 60)}:${two(seconds % 60)}`;
  return `${minute}:${two(seconds % 60)}`;
}

function tick() {
  for (const each of document.querySelectorAll("[data-until]")) {
    const seconds = Math.max(0, Math.round(each.dataset.until - Date.now() / 1000));
    each.querySelector("strong").textContent = left(seconds);
    each.classList.toggle("over", seconds === 0);
  }
}

setInterval(tick, 250);
