/** What every page of the console has around it: the menu of a narrow screen, and the colours. */

import { byId } from "./dom.js";

export function closeMenu() {
  delete document.body.dataset.menu;
  byId("menu").setAttribute("aria-expanded", "false");
}

function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function labelTheme() {
  byId("theme").textContent = isDark() ? "☀" : "☾";
  byId("theme").setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
}

byId("theme").addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("opsgate.theme", theme);
  labelTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", labelTheme);
labelTheme();

byId("menu").addEventListener("click", () => {
  document.body.dataset.menu = "open";
  byId("menu").setAttribute("aria-expanded", "true");
  document.querySelector(".channels [aria-current]")?.focus();
});
byId("veil").addEventListener("click", closeMenu);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.body.dataset.menu) closeMenu();
});
