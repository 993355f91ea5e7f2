/** The side panel of one invocation: what was decided and why, who voted, its log and the replies. */

import { get } from "./api.js";
import { drawCard } from "./cards.js";
import { avatar, byId, clock, h, prose } from "./dom.js";
import { EntryList } from "./entries.js";

const VERDICTS = { allow: "Allowed", pending: "Allowed once others agree", deny: "Not allowed" };

export class Thread {
  /** `room`: the Room. `doing`: as in entries.js. */
  constructor({ room, doing }) {
    Object.assign(this, { room, doing });
    this.panel = byId("thread");
    this.body = byId("thread-body");
    this.key = null;
    byId("thread-close").addEventListener("click", () => this.close());
    this.panel.addEventListener("keydown", (event) => { if (event.key === "Escape") this.close(); });
  }

  open(entry) {
    this.key = entry.key;
    this.lastLine = 0;
    this.summary = h("div");
    this.facts = h("div");
    this.log = h("ol", { class: "log", "data-testid": "log", "aria-label": "Log" });
    this.noLog = h("p", { class: "none" }, "No output yet.");
    this.replies = new EntryList(h("ol", { class: "messages" }), this.doing, true);
    this.body.replaceChildren(this.summary, this.facts, section("Log", this.noLog, this.log), section("Replies", this.replies.list));
    this.panel.hidden = false;
    document.body.dataset.thread = "open";
    this.update();
    this.replies.showAll(this.room.replies(this.key));
    this.readLog();
    byId("thread-title").focus();
  }

  close() {
    if (this.key === null) return;
    const key = this.key;
    this.key = null;
    this.panel.hidden = true;
    delete document.body.dataset.thread;
    const card = document.querySelector(`[data-invocation="${CSS.escape(key)}"] [data-focus="thread"]`);
    (card ?? byId("line")).focus();
  }

  /** Something about this entry changed, or it is a reply here. */
  update(entry = null) {
    const root = this.room.find(this.key);
    if (!root) return;
    if (entry?.thread === this.key) this.replies.show(entry).scrollIntoView({ block: "nearest" });
    const { invocation } = root;
    const { onButton, onExample } = { onButton: (button) => this.doing.press(root, button), onExample: this.doing.fill };
    const note = root.note && h("div", { class: "answer note" }, h("p", { class: "only-you" }, "Only you can see this"),
      drawCard(root.note, { quiet: true, onButton, onExample }));
    const focus = this.summary.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    this.summary.replaceChildren(...[drawCard(root.card, { onButton, onExample }), note].filter(Boolean));
    if (focus) this.summary.querySelector(`[data-focus="${focus}"]`)?.focus();
    const details = this.facts.querySelector("details")?.open;
    this.facts.replaceChildren(drawDecision(invocation.decision), drawVotes(invocation.votes), drawDetails(invocation, details));
  }

  /** Lines of the feed; after a gap the missing ones are fetched. */
  addLog(id, lines) {
    if (id !== this.key || lines.length === 0) return;
    if (lines[0].seq > this.lastLine + 1) this.readLog();
    else this.append(lines);
  }

  async readLog() {
    const key = this.key;
    for (;;) {
      let page;
      try {
        page = await get(`/v1/invocations/${encodeURIComponent(key)}/log?after=${this.lastLine}`);
      } catch (error) {
        if (this.key === key) this.noLog.textContent = `The log could not be read. ${error.message}`;
        return;
      }
      if (this.key !== key) return;
      this.append(page.items);
      if (!page.next || page.items.length === 0) return;
    }
  }

  append(lines) {
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    for (const line of lines) {
      if (line.seq <= this.lastLine) continue;
      this.lastLine = line.seq;
      this.log.append(h("li", { "data-seq": line.seq }, clock(Date.parse(line.at), { seconds: true }), h("span", {}, line.text)));
    }
    this.noLog.hidden = this.lastLine > 0;
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }
}

const section = (title, ...content) => h("section", { class: "part" }, h("h3", {}, title), content);

function drawDecision(decision) {
  const met = decision.requirements.map(({ requirement, have, met: done }) =>
    h("li", { class: done ? "done" : null }, `${have} of ${requirement.quorum} from ${requirement.groups.join(" or ")}${done ? ", met" : ""}`));
  const rules = decision.grants.map((grant) => h("li", {}, "Rule ", h("code", {}, grant.rule)));
  const reasons = decision.reasons.map((reason) => h("li", {}, prose(reason.msg), " ", h("code", {}, reason.code)));
  return h("section", { class: "part", "data-testid": "decision" },
    h("h3", {}, "Decision"),
    h("p", { class: "verdict" }, VERDICTS[decision.effect]),
    h("ul", { class: "bullets" }, reasons, met, rules));
}

function drawVotes(votes) {
  const words = { approve: "approved", reject: "rejected" };
  const items = votes.map((vote) => h("li", {}, avatar(vote.by),
    h("div", {},
      h("p", {}, h("strong", {}, vote.by.name), ` ${words[vote.verdict]} `, clock(Date.parse(vote.at)), vote.counts ? "" : " (does not count)"),
      vote.reason && h("p", { class: "quoted" }, vote.reason))));
  return h("section", { class: "part", "data-testid": "votes" },
    h("h3", {}, "Votes"),
    items.length > 0 ? h("ul", { class: "votes" }, items) : h("p", { class: "none" }, "Nobody voted."));
}

function drawDetails(invocation, open) {
  const rows = [
    ["Invocation", invocation.id],
    ["Binding hash", invocation.binding_hash],
    ["Policy revision", invocation.decision.revision],
    ["Decision", invocation.decision.id],
    ["Worker", invocation.job?.worker],
    ["Trace", invocation.trace_id],
  ];
  return h("details", { class: "part", open: open || null },
    h("summary", {}, "For the record"),
    h("dl", { class: "facts record" }, rows.filter(([, value]) => value).map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value)))));
}
