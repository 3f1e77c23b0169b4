// One key for each thing that is done often: what carries data-key is pressed, and a form that it opens takes the focus.
"use strict";
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, [contenteditable]")) return;
  const found = [...document.querySelectorAll("[data-key]")].find((each) => each.dataset.key === event.key);
  if (!found) return;
  event.preventDefault();
  found.click();
  const opened = found.closest("details");
  if (opened && opened.open) opened.querySelector("select, input:not([type=hidden])").focus();
  else found.focus();
});
document.addEventListener("keydown", (event) => {
  const opened = event.key === "Escape" && event.target.closest("details[open]");
  if (!opened) return;
  opened.open = false;
  opened.querySelector("summary").focus();
});
