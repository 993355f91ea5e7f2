/** Asks before something happens. The answer is a promise; closing the dialog in any way is a no. */

import { h } from "./dom.js";

/**
 * `reason`: "required" or null. Gives null for no, otherwise the reason given ("" when none was wanted).
 */
export function ask({ title, text, yes, danger = false, reason = null }) {
  return new Promise((resolve) => {
    let answer = null;
    const field = reason && h("textarea", { id: "reason", rows: 3, maxlength: 1000, required: true, "data-testid": "reason" });
    const say = (event) => {
      event.preventDefault();
      const given = field ? field.value.trim() : "";
      if (field && !given) return field.focus();
      answer = given;
      return dialog.close();
    };
    const dialog = h("dialog", { "aria-labelledby": "ask-title", "data-testid": "dialog" },
      h("form", { onsubmit: say },
        h("h2", { id: "ask-title" }, title),
        text && h("p", {}, text),
        field && h("label", { for: "reason" }, "Why? Everybody who sees the card will read it."),
        field,
        h("div", { class: "actions" },
          h("button", { type: "button", class: "button plain", onclick: () => dialog.close() }, "Back"),
          h("button", { type: "submit", class: `button ${danger ? "danger" : "primary"}`, "data-testid": "confirm" }, yes))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    (field || dialog.querySelector("[type=submit]")).focus();
  });
}
