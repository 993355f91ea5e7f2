// Sets the chosen theme before the first paint; a module would run too late and flash.
const chosen = localStorage.getItem("opsgate.theme");
if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
