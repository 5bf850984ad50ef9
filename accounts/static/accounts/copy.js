// Adds a copy button to each secret and code block. Without JavaScript, users select and copy the text.

const COPIED_FOR = 2000;

function nameOf(source) {
  return source.getAttribute("aria-label") ?? document.getElementById(source.getAttribute("aria-labelledby")).textContent;
}

function addButton(source, copy, copied) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet copy-button";
  const word = document.createElement("span");
  word.textContent = copy;
  const what = document.createElement("span");
  what.className = "unseen";
  what.textContent = ` ${nameOf(source)}`;
  button.append(word, what);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(source.textContent);
    word.textContent = copied;
    setTimeout(() => { word.textContent = copy; }, COPIED_FOR);
  });
  button.setAttribute("aria-live", "polite");
  source.after(button);
}

// Browsers have no clipboard API on plain HTTP.
if (navigator.clipboard) {
  const { copy, copied } = document.querySelector("[data-copied]").dataset;
  document.querySelectorAll(".secret, pre").forEach((source) => addButton(source, copy, copied));
}
