// Adds a button to each password field that shows the typed password. Without JavaScript, there is no button.

function addButton(field, show) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.textContent = show;
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-controls", field.id);
  const whose = document.createElement("span");
  whose.className = "unseen";
  whose.textContent = ` ${field.labels[0].textContent}`;
  button.append(whose);

  function reveal(shown) {
    field.type = shown ? "text" : "password";
    button.setAttribute("aria-pressed", String(shown));
  }
  button.addEventListener("click", () => reveal(field.type === "password"));
  // Otherwise browsers would store the password with the values of text fields.
  field.form.addEventListener("submit", () => reveal(false));
  field.after(button);
  field.parentElement.classList.add("reveals");
}

// The page of a used link has no form.
const show = document.querySelector("[data-show]")?.dataset.show;
document.querySelectorAll("input[type=password]").forEach((field) => addButton(field, show));
