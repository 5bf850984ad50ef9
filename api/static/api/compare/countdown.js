// Counts down to the end of a token: <… data-until="seconds since 1970"><strong>…</strong></…>

function left(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${String(seconds % 60).padStart(2, "0")}`;
}

function tick() {
  for (const each of document.querySelectorAll("[data-until]")) {
    const seconds = Math.max(0, Math.round(each.dataset.until - Date.now() / 1000));
    each.querySelector("strong").textContent = left(seconds);
    each.classList.toggle("over", seconds === 0);
  }
}

setInterval(tick, 250);
