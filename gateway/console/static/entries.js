/** Draws lists of entries and keeps them up to date in place: one message per invocation, however often it changes. */

import { drawCard } from "./cards.js";
import { asLine, avatar, clock, dayOf, h } from "./dom.js";

/**
 * `doing`: {press(entry, button), fill(line), openThread(entry), dismiss(entry), goTo(key)} and `replies(entry)`, a count.
 * `within`: true in a thread, where cards offer no further thread.
 */
export class EntryList {
  constructor(list, doing, within = false) {
    Object.assign(this, { list, doing, within });
    this.shown = new Map();
  }

  /** Show exactly these, oldest first. */
  showAll(entries) {
    this.shown.clear();
    this.list.replaceChildren();
    for (const entry of entries) this.show(entry);
  }

  /** Add it where it belongs by time, or redraw it where it stands. Gives its element. */
  show(entry) {
    const before = this.shown.get(entry.key);
    const node = this.draw(entry);
    this.shown.set(entry.key, node);
    if (before) {
      const focus = before.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
      before.replaceWith(node);
      if (focus) node.querySelector(`[data-focus="${focus}"]`)?.focus({ preventScroll: true });
    } else {
      const next = [...this.list.children].find((other) => Number(other.dataset.at) > entry.at);
      this.list.insertBefore(node, next ?? null);
      node.classList.add("fresh");
    }
    this.markDays();
    return node;
  }

  remove(key) {
    this.shown.get(key)?.remove();
    this.shown.delete(key);
  }

  markDays() {
    let last = "";
    for (const node of this.list.children) {
      const day = dayOf(Number(node.dataset.at));
      if (day === last) delete node.dataset.day;
      else node.dataset.day = day;
      last = day;
    }
  }

  draw(entry) {
    const invocation = entry.invocation;
    return h("li", {
      class: "entry",
      "data-testid": "entry",
      "data-at": entry.at,
      "data-invocation": invocation?.id,
      "data-state": invocation?.state,
      "data-version": invocation?.version,
    },
    avatar(entry.who),
    h("div", { class: "said" },
      h("p", { class: "by" }, h("strong", { "data-testid": "who" }, entry.who.name), clock(entry.at), this.via(invocation)),
      h("p", { class: "line", "data-testid": "said" }, asLine(entry.line)),
      entry.busy && h("p", { class: "busy" }, "Sending…"),
      this.answer(entry),
      this.note(entry)));
  }

  via(invocation) {
    const platform = invocation?.platform;
    const elsewhere = platform && !["rest", "web", "console", "token", "api", "persona"].includes(platform);
    return elsewhere && h("span", { class: "via" }, `via ${platform}`);
  }

  answer(entry) {
    if (entry.points) {
      return h("button", { type: "button", class: "link", onclick: () => this.doing.goTo(entry.points) }, "See the card ›");
    }
    if (!entry.card) return null;
    const asked = entry.invocation !== null;
    const again = entry.again && h("button", { type: "button", class: "button plain", onclick: entry.again }, "Try again");
    return h("div", { class: "answer", "data-testid": entry.private ? "private" : "public" },
      entry.private && onlyYou(),
      drawCard(entry.card, {
        quiet: !asked,
        onButton: (button) => this.doing.press(entry, button),
        onExample: this.doing.fill,
        extra: asked && !this.within ? [this.threadButton(entry)] : [],
      }),
      again);
  }

  threadButton(entry) {
    const count = this.doing.replies(entry);
    const words = count === 0 ? "Thread" : `Thread · ${count} ${count === 1 ? "reply" : "replies"}`;
    return h("button", {
      type: "button",
      class: "link",
      "data-testid": "open-thread",
      "data-focus": "thread",
      "aria-label": `${words} of ${entry.card.title}`,
      onclick: () => this.doing.openThread(entry),
    }, words, h("span", { "aria-hidden": "true" }, " ›"));
  }

  note(entry) {
    if (!entry.note) return null;
    const dismiss = h("button", {
      type: "button", class: "icon small", "aria-label": "Dismiss", onclick: () => this.doing.dismiss(entry),
    }, "✕");
    return h("div", { class: "answer note", "data-testid": "note" },
      h("div", { class: "note-top" }, onlyYou(), dismiss),
      drawCard(entry.note, { quiet: true, onButton: (button) => this.doing.press(entry, button), onExample: this.doing.fill }));
  }
}

const onlyYou = () => h("p", { class: "only-you" }, "Only you can see this");
