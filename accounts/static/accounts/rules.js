// Ticks the rules for a new password while it is typed, as far as the page can know. Without JavaScript, it is a list.

const SHORTEST_NAME = 3;

function personalWords(form) {
  return ["username", "email"]
    .map((name) => form.elements[name]?.value.trim().toLowerCase() ?? "")
    .flatMap((value) => [value, value.split("@")[0]])
    .filter((value) => value.length >= SHORTEST_NAME);
}

const checks = {
  least: (password, { length }) => password.length >= length,
  most: (password, { length }) => password.length > 0 && password.length <= length,
  personal: (password, _data, form) => {
    const text = password.join("").toLowerCase();
    return text !== "" && !personalWords(form).some((word) => text.includes(word));
  },
};

function start(list) {
  const field = document.getElementById(list.dataset.for);
  const rules = [...list.querySelectorAll("[data-check]")].map((item) => {
    const met = document.createElement("span");
    met.className = "unseen";
    item.prepend(met);
    return { item, met };
  });

  function update() {
    // The server counts the composed characters.
    const password = [...field.value.normalize("NFC")];
    for (const { item, met } of rules) {
      const isMet = checks[item.dataset.check](password, item.dataset, field.form);
      item.classList.toggle("met", isMet);
      met.textContent = isMet ? `${list.dataset.met} ` : "";
    }
  }
  list.classList.add("live");
  field.form.addEventListener("input", update);
  update();
}

document.querySelectorAll(".rules").forEach(start);
