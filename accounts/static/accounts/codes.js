// Adds the buttons that download and print recovery codes. Without JavaScript, users copy the text, or print the page.

const actions = document.querySelector("[data-codes]");
const [link, button] = actions.children;
const text = document.querySelector(".codes").textContent;
link.href = URL.createObjectURL(new Blob([`${location.host}\n\n${text}`], { type: "text/plain" }));
link.download = actions.dataset.codes;
button.addEventListener("click", () => print());
actions.hidden = false;
