/** How much waits for whoever this window is: the number beside "Approvals". Asks again soon after something changed. */

import { get, session, Trouble } from "./api.js";
import { byId } from "./dom.js";

const SOON = 400;

export class Waiting {
  /** At most one question at a time; many changes at once are one. */
  look() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.read(), SOON);
  }

  async read() {
    if (!session.token && !session.signedIn.person) return this.show(0);
    try {
      return this.show((await get("/v1/approvals?view=waiting")).items.length);
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      return undefined; // the lost connection says so already
    }
  }

  show(count) {
    const badge = byId("waiting");
    badge.hidden = count === 0;
    badge.textContent = String(count);
  }
}
