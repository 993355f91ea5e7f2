/** The quiet line on top: not connected, or the gateway says that something is wrong and what. */

import { readiness } from "./api.js";
import { byId, h } from "./dom.js";

const EVERY = 10_000;
const PATIENCE = 2000; // a reconnect that works at once is nobody's business
const NOTICE_FOR = 10_000;

export class Health {
  constructor() {
    this.banner = byId("banner");
    this.lost = false;
    this.failing = [];
    this.notice = "";
    setInterval(() => { if (!document.hidden) this.look(); }, EVERY);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.look(); });
    this.look();
  }

  connected() {
    clearTimeout(this.timer);
    this.timer = null;
    this.lost = false;
    this.look();
  }

  disconnected() {
    this.timer ??= setTimeout(() => { this.lost = true; this.show(); }, PATIENCE);
  }

  /** The gateway said something about itself. */
  tell(text) {
    this.notice = text;
    clearTimeout(this.noticeTimer);
    this.noticeTimer = setTimeout(() => { this.notice = ""; this.show(); }, NOTICE_FOR);
    this.look();
  }

  async look() {
    try {
      const { checks } = await readiness();
      // A command that nobody here can carry out says so itself when it is asked for.
      this.failing = Object.entries(checks).filter(([name, check]) => !check.ok && name !== "operations").map(([name, check]) => ({ name, detail: check.detail }));
    } catch {
      this.failing = []; // no answer at all: the lost connection says so already
    }
    this.show();
  }

  show() {
    const lines = this.lost
      ? [h("p", {}, h("strong", {}, "Not connected. "), "Trying again by itself; what you see may be out of date.")]
      : this.failing.map(({ name, detail }) => h("p", {}, h("strong", {}, `${name.replace("_", " ")}: `), detail));
    if (lines.length === 0 && this.notice) lines.push(h("p", {}, this.notice));
    const tone = this.lost || this.failing.length > 0 ? "warning" : "notice";
    const text = tone + lines.map((line) => line.textContent).join("\n");
    if (text === this.shown) return; // a status region that is written again is read out again
    this.shown = text;
    this.banner.dataset.tone = tone;
    this.banner.replaceChildren(...lines);
    this.banner.hidden = lines.length === 0;
  }
}
