/** Saying things and pressing buttons: from what a person does here to the API and back onto the page. */

import { post, Trouble } from "./api.js";
import { ask } from "./dialog.js";

export class Chat {
  /** `room`: the Room. `show(entry)`, `remove(entry)`: put it on the page or take it off. `changed(entry, what)`: taken. */
  constructor({ room, show, remove, changed }) {
    Object.assign(this, { room, show, remove, changed });
    this.flying = 0;
    this.held = [];
  }

  /** Say a line in a channel, or under an invocation. */
  say(line, channel, thread = "") {
    const entry = this.room.say({ channel, thread, who: this.room.me, line, private: true });
    return this.attempt(entry, crypto.randomUUID());
  }

  /** The key makes a second attempt harmless when the first one arrived after all. */
  async attempt(entry, key) {
    Object.assign(entry, { busy: true, card: null, again: null });
    this.show(entry);
    this.flying += 1;
    try {
      const context = { channel: entry.channel, channel_kind: "public", thread: entry.thread };
      this.settle(entry, await post("/v1/messages", { text: entry.line, context }, key));
    } catch (error) {
      const mayHelp = !error.status || error.status >= 500;
      Object.assign(entry, { busy: false, card: cardOf(error), again: mayHelp ? () => this.attempt(entry, key) : null });
      this.show(entry);
    } finally {
      this.flying -= 1;
      if (this.flying === 0) for (const invocation of this.held.splice(0)) this.take(invocation);
    }
  }

  /**
   * A line that names an invocation is about it, and only points to its one card; any other answer with an invocation
   * is that one's first card.
   */
  settle(entry, answer) {
    const { invocation } = answer;
    const about = invocation && entry.line.split(/\s+/).some((word) => word.length > 7 && invocation.id.startsWith(word));
    if (invocation) this.take(invocation);
    if (answer.kind === "invocation" && invocation && !about && this.room.find(invocation.id)?.channel === entry.channel) {
      this.room.forget(entry.key);
      this.remove(entry);
      return;
    }
    const points = about && !answer.private && this.room.find(invocation.id)?.channel === entry.channel ? invocation.id : null;
    Object.assign(entry, { busy: false, card: points ? null : answer.card, private: answer.private, about: invocation?.id, points });
    this.show(entry);
  }

  /** From the feed. What this window is just asking waits for its answer, so that the line is not there twice. */
  hear(invocation) {
    const own = invocation.requested_by.id === this.room.me?.id;
    if (this.flying > 0 && own && !this.room.find(invocation.id)) this.held.push(invocation);
    else this.take(invocation);
  }

  take(invocation) {
    const what = this.room.take(invocation);
    if (what) this.changed(this.room.find(invocation.id), what);
  }

  /** A button of a card: approve, reject or cancel, with what that card showed. */
  async press(entry, button) {
    if (entry.pressing) return;
    const rejecting = button.action === "reject";
    const given = button.confirm || rejecting
      ? await ask({
        title: button.label,
        text: button.confirm,
        yes: button.label,
        danger: button.style === "danger" || button.action === "cancel",
        reason: rejecting ? "required" : null,
      })
      : "";
    if (given === null) return;
    entry.pressing = true;
    try {
      const answer = await this.act(entry.invocation?.id ?? entry.about, button, given);
      entry.note = answer.kind === "invocation" ? null : answer.card;
      if (answer.invocation) this.take(answer.invocation);
    } catch (error) {
      entry.note = cardOf(error);
    }
    entry.pressing = false;
    this.show(entry);
  }

  act(id, button, reason) {
    const path = `/v1/invocations/${encodeURIComponent(id)}`;
    if (button.action === "cancel") return post(`${path}/cancel`, { reason });
    return post(`${path}/votes`, { verdict: button.action, binding_hash: button.binding_hash, reason });
  }
}

function cardOf(error) {
  if (error instanceof Trouble) return error.card();
  throw error;
}
