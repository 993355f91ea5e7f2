/** What was said and asked, by channel. Knows nothing of the page; an older version never replaces a newer one. */

/**
 * An entry is one typed line with its answer:
 * {key, at, channel, thread, who, line, invocation | null, card | null, private, busy, note, again, about, points}
 * `at`: milliseconds since 1970. `thread`: the invocation it was said under, or "". `note`: a private card below it.
 * `again`: call it to try the same action once more. `about`: the invocation an answer speaks of; `points`: the one whose
 * card says it all. An invocation's key is its id.
 */
export class Room {
  constructor() {
    this.clear();
  }

  clear() {
    this.entries = new Map();
    this.channels = new Map();
    this.me = null;
  }

  /** {loaded, earlier: cursor or null, unread} of one channel. */
  channel(name) {
    if (!this.channels.has(name)) this.channels.set(name, { loaded: false, earlier: null, unread: 0 });
    return this.channels.get(name);
  }

  find(key) {
    return this.entries.get(key);
  }

  /** Takes an invocation as it looks now. Gives "new", "changed", or null when there is nothing to show. */
  take(invocation) {
    const hidden = invocation.visibility === "private" && invocation.requested_by.id !== this.me?.id;
    if (hidden) return null;
    const known = this.entries.get(invocation.id);
    if (known && known.invocation.version >= invocation.version) return null;
    if (known) {
      Object.assign(known, { invocation, card: invocation.card, private: invocation.visibility === "private" });
      return "changed";
    }
    this.entries.set(invocation.id, {
      key: invocation.id,
      at: Date.parse(invocation.created_at),
      channel: invocation.context.channel,
      thread: invocation.context.thread,
      who: invocation.requested_by,
      line: invocation.text,
      invocation,
      card: invocation.card,
      private: invocation.visibility === "private",
    });
    return "new";
  }

  /** Something only this window knows: a line on its way, or an answer that is nobody else's business. */
  say(entry) {
    const last = this.in(entry.channel).at(-1);
    const said = { key: crypto.randomUUID(), at: Math.max(Date.now(), last?.at ?? 0), invocation: null, card: null, ...entry };
    this.entries.set(said.key, said);
    return said;
  }

  forget(key) {
    this.entries.delete(key);
  }

  /** Everything of a channel, oldest first. */
  in(channel) {
    return [...this.entries.values()].filter((entry) => entry.channel === channel).sort((a, b) => a.at - b.at);
  }

  /** What stands in the channel itself; a reply stands in its thread, unless the thread is not here. */
  main(channel) {
    return this.in(channel).filter((entry) => !this.entries.has(entry.thread));
  }

  replies(key) {
    const channel = this.entries.get(key)?.channel;
    return this.in(channel).filter((entry) => entry.thread === key);
  }

  /** Invocations somebody could still approve, reject or cancel; newest first. */
  open(channel) {
    const states = ["pending", "queued", "running"];
    return this.in(channel).filter((entry) => states.includes(entry.invocation?.state)).reverse();
  }
}
