// Adds a button to every password field that shows what was typed. Without JavaScript, there is none.

function addButton(field, show) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.textContent = show;
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-controls", field.id);
  const whose = document.createElement("span");
  whose.className = "unseen";
  whose.textContent = ` ${field.labels[0].textContent.replace(/:\s*$/, "")}`;
  button.append(whose);

  function reveal(shown) {
    field.type = shown ? "text" : "password";
    button.setAttribute("aria-pressed", String(shown));
  }
  button.addEventListener("click", () => reveal(field.type === "password"));
  // Or the browser would keep it with what was typed into fields of text.
  field.form.addEventListener("submit", () => reveal(false));
  field.after(button);
  field.parentElement.classList.add("reveals");
}

// The page of a link that is used up has no form.
const show = document.querySelector("[data-show]")?.dataset.show;
document.querySelectorAll("input[type=password]").forEach((field) => addButton(field, show));
