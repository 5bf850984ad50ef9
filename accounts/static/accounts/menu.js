// Closes the account menu by Escape, and when the focus or a click leaves it. Without JavaScript, its button closes it.

const menu = document.querySelector(".menu");

function closeUnless(target) {
  if (!menu.contains(target)) menu.open = false;
}

document.addEventListener("click", ({ target }) => closeUnless(target));
document.addEventListener("focusin", ({ target }) => closeUnless(target));
menu.addEventListener("keydown", ({ key }) => {
  if (key !== "Escape" || !menu.open) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
