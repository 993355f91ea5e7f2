/** The line one types in: suggestions while typing, recall of earlier lines, sending. Refuses to judge what is typed. */

import { complete } from "./complete.js";
import { h } from "./dom.js";

const LINES = "opsgate.lines";
const KEEP = 50;
const MAY_WORDS = { pending: "needs approval", deny: "not allowed" };

export class Composer {
  /** `world()`: the catalog and what is open, see complete.js. `send(line)`: what to do with a finished line. */
  constructor(form, { world, send }) {
    this.form = form;
    this.world = world;
    this.send = send;
    this.input = form.querySelector("input");
    this.list = h("ul", { id: `${this.input.id}-list`, role: "listbox", "aria-label": "Suggestions", "data-testid": "suggestions" });
    this.hint = h("p", { class: "hint", "data-testid": "hint" });
    this.popup = h("div", { class: "popup", hidden: true }, this.list, this.hint);
    form.prepend(this.popup);
    this.close();
    this.recalled = null;
    for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-controls", this.list.id], ["aria-expanded", "false"]]) {
      this.input.setAttribute(name, value);
    }
    this.input.addEventListener("input", () => { this.recalled = null; this.suggest(); });
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("blur", () => this.close());
    form.addEventListener("submit", (event) => { event.preventDefault(); this.submit(); });
  }

  /** Put this in the line, ready to be changed or sent. */
  fill(line) {
    this.input.value = line;
    this.close();
    this.input.focus();
    this.input.setSelectionRange(line.length, line.length);
  }

  submit() {
    const line = this.input.value.trim();
    this.close();
    if (!line || line === "/ops") return this.input.focus();
    this.recalled = null;
    this.input.value = "";
    const lines = [...remembered().filter((earlier) => earlier !== line), line].slice(-KEEP);
    sessionStorage.setItem(LINES, JSON.stringify(lines));
    return this.send(line);
  }

  key(event) {
    if (event.isComposing) return;
    const open = !this.popup.hidden && this.items.length > 0;
    const recalling = this.recalled !== null || this.input.value === "";
    if (event.key === "Escape" && !this.popup.hidden) this.close();
    else if (event.key === "Tab" && !event.shiftKey && open) this.accept(Math.max(this.active, 0));
    else if (event.key === "Enter" && open && this.active >= 0) this.accept(this.active);
    else if (event.key === "ArrowDown" && open) this.choose((this.active + 1) % this.items.length);
    else if (event.key === "ArrowUp" && open) this.choose(this.active <= 0 ? this.items.length - 1 : this.active - 1);
    else if (event.key === "ArrowUp" && recalling) this.recall(-1);
    else if (event.key === "ArrowDown" && this.recalled !== null) this.recall(1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  recall(step) {
    const lines = remembered();
    const at = (this.recalled ?? lines.length) + step;
    if (at < 0 || lines.length === 0) return;
    this.fill(lines[at] ?? "");
    this.recalled = at < lines.length ? at : null;
  }

  /** What can be suggested changed while somebody may be typing. */
  refresh() {
    if (document.activeElement === this.input && this.input.value !== "" && this.recalled === null) this.suggest();
  }

  suggest() {
    const caret = this.input.selectionStart ?? this.input.value.length;
    const { from, items, hint } = complete(this.input.value.slice(0, caret), this.world());
    Object.assign(this, { from, items, active: -1 });
    this.list.replaceChildren(...items.map((item, index) => this.option(item, index)));
    this.hint.replaceChildren(...drawHint(hint, items.length > 0));
    this.popup.hidden = items.length === 0 && !hint;
    this.input.setAttribute("aria-expanded", String(items.length > 0));
    this.input.removeAttribute("aria-activedescendant");
  }

  option(item, index) {
    const word = MAY_WORDS[item.may];
    return h("li", {
      id: `${this.list.id}-${index}`,
      role: "option",
      class: item.may === "deny" ? "refused" : null,
      "aria-selected": "false",
      "data-testid": "suggestion",
      "data-value": item.insert,
      "data-may": item.may,
      onpointerdown: (event) => { event.preventDefault(); this.accept(index); },
    },
    h("span", { class: "what" }, item.label),
    h("span", { class: "detail" }, item.detail),
    word && h("span", { class: `may ${item.may}` }, word));
  }

  choose(index) {
    this.active = index;
    for (const [at, node] of [...this.list.children].entries()) node.setAttribute("aria-selected", String(at === index));
    const node = this.list.children[index];
    node.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", node.id);
  }

  accept(index) {
    const caret = this.input.selectionStart ?? this.input.value.length;
    const { insert } = this.items[index];
    const before = this.input.value.slice(0, this.from) + insert + " ";
    this.input.value = before + this.input.value.slice(caret).trimStart();
    this.input.setSelectionRange(before.length, before.length);
    this.input.focus();
    this.suggest();
  }

  close() {
    this.popup.hidden = true;
    this.items = [];
    this.active = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }
}

function drawHint(hint, choices) {
  const keys = choices && h("span", { class: "keys" }, h("kbd", {}, "↑↓"), " choose ", h("kbd", {}, "Tab"), " take ", h("kbd", {}, "Esc"), " close");
  if (!hint) return [keys].filter(Boolean);
  const word = MAY_WORDS[hint.may];
  return [
    h("span", { class: "usage" }, hint.usage),
    hint.expects && h("span", { class: "expects" }, `${hint.expects.name}: ${hint.expects.summary}`),
    word && h("span", { class: `may ${hint.may}` }, word),
    keys,
  ].filter(Boolean);
}

function remembered() {
  return JSON.parse(sessionStorage.getItem(LINES) ?? "[]");
}
