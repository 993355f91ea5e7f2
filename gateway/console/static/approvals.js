/** The approvals page: what waits for me, what I asked, what was decided, which uses of broken glass are to be reviewed. */

import { get, openFeed, post, session, Trouble } from "./api.js";
import { drawCard } from "./cards.js";
import { ask } from "./dialog.js";
import { announce, avatar, byId, h } from "./dom.js";
import { Feed } from "./feed.js";
import { Health } from "./health.js";
import { settle } from "./people.js";
import { closeMenu } from "./shell.js";
import { Waiting } from "./waiting.js";

const SOON = 150;
const VIEWS = ["waiting", "asked", "decided"];
const OPEN = ["pending", "queued"];
const KEYS = { a: "approve", r: "reject", w: "withdraw", c: "cancel" };

const health = new Health();
const waiting = new Waiting();
const shown = new Map(); // list:id -> {version, node, back}
let me = null;
let feed = null;
let timer = 0;

const listOf = (name) => document.querySelector(`[data-list="${name}"]`);
const all = () => [...document.querySelectorAll(".item")];

// ---- drawing ---------------------------------------------------------------------------------------------------------

/** Puts a list on the page; what did not change keeps its node, so that nobody loses their place. */
function draw(name, things, drawOne) {
  const keys = new Set(things.map((thing) => `${name}:${thing.id}`));
  const focused = document.activeElement?.closest?.(".item")?.dataset.key;
  for (const [key, { node }] of shown) {
    if (!key.startsWith(`${name}:`) || keys.has(key)) continue;
    node.remove();
    shown.delete(key);
  }
  const nodes = things.map((thing) => {
    const key = `${name}:${thing.id}`;
    const known = shown.get(key);
    const version = JSON.stringify([thing.version, thing.card, thing.closed_at]);
    if (known && known.version === version) return known.node;
    const node = h("li", { class: "item", tabindex: 0, "data-key": key, "data-id": thing.id, "data-testid": "item" }, drawOne(thing));
    node.thing = thing;
    if (known) known.node.replaceWith(node);
    shown.set(key, { version, node });
    return node;
  });
  listOf(name).replaceChildren(...nodes);
  document.querySelector(`[data-count="${name}"]`).textContent = things.length || "";
  document.querySelector(`[data-none="${name}"]`).hidden = things.length > 0;
  if (focused && document.activeElement === document.body) (shown.get(focused)?.node ?? all()[0])?.focus();
}

/** What this person can do about it; the gateway decides when it is pressed. */
function actionsFor(invocation) {
  const mine = invocation.requested_by.id === me.id;
  const voted = invocation.votes.some((vote) => vote.by.id === me.id);
  const pending = invocation.state === "pending";
  return [
    pending && !mine && !voted && ["approve", "Approve", "primary"],
    pending && !mine && ["reject", "Reject", "danger"],
    voted && OPEN.includes(invocation.state) && ["withdraw", "Take back my vote", "plain"],
    [...OPEN, "running"].includes(invocation.state) && mine && ["cancel", "Cancel", "plain"],
  ].filter(Boolean);
}

function drawInvocation(invocation) {
  const card = { ...invocation.card, buttons: [], examples: [] };
  const actions = actionsFor(invocation);
  return [
    drawCard(card, { onButton: null, onExample: null }),
    invocation.state === "pending" && h("p", { class: "none left", "data-until": invocation.expires_at, "data-testid": "left" }, left(invocation.expires_at)),
    actions.length > 0 && h("div", { class: "actions" }, actions.map(([action, label, style]) =>
      h("button", { type: "button", class: `button ${style}`, "data-testid": `do-${action}`, onclick: () => act(invocation, action) }, label))),
  ];
}

function drawReview(review) {
  const card = {
    tone: "waiting", title: `${review.person} broke the glass`, progress: null, buttons: [], examples: [], links: [], bullets: [],
    text: `Look at what was done (${review.invocation_id}), then close the review with what you found. Until then ${review.person} cannot break it again.`,
    facts: [{ label: "By", value: review.groups.join(" or ") }, { label: "Until", value: new Date(review.due_at).toLocaleString() }], footer: review.id,
  };
  const may = review.person !== me.id && review.groups.some((group) => me.groups.includes(group));
  return [
    drawCard(card, { onButton: null, onExample: null }),
    may && h("div", { class: "actions" }, h("button", { type: "button", class: "button primary", "data-testid": "do-close", onclick: () => closeReview(review) }, "Close the review")),
  ];
}

function left(until) {
  const seconds = Math.max(0, Math.round((new Date(until) - Date.now()) / 1000));
  const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  return seconds > 0 ? `Expires in ${clock} min` : "It has expired";
}

setInterval(() => {
  for (const line of document.querySelectorAll("[data-until]")) line.textContent = left(line.dataset.until);
}, 1000);

// ---- doing -----------------------------------------------------------------------------------------------------------

const QUESTIONS = {
  approve: { title: "Approve this?", yes: "Approve" },
  reject: { title: "Reject this?", yes: "Reject", danger: true, reason: "required" },
  withdraw: { title: "Take back your vote?", yes: "Take it back" },
  cancel: { title: "Cancel this?", yes: "Cancel it", danger: true },
};

/** The vote carries the hash of the card as it was when the question was asked. */
async function act(invocation, action) {
  const reason = await ask({ text: `${invocation.text} · asked by ${invocation.requested_by.name}`, ...QUESTIONS[action] });
  if (reason === null) return;
  const path = `/v1/invocations/${invocation.id}`;
  await told(invocation.id, () => (action === "cancel"
    ? post(`${path}/cancel`, { reason })
    : post(`${path}/votes`, { verdict: action, binding_hash: invocation.binding_hash, reason })));
}

async function closeReview(review) {
  const note = await ask({ title: "What did you find?", text: `${review.person}, ${review.invocation_id}`, yes: "Close the review", reason: "required" });
  if (note === null) return;
  await told(review.id, async () => {
    await post(`/v1/reviews/${review.id}/close`, { note });
    return null;
  });
}

/** Does it and shows what the gateway said, where it was pressed. */
async function told(id, doing) {
  let card = null;
  try {
    const answer = await doing();
    if (answer?.kind === "refusal") card = answer.card;
    announce(answer ? `${answer.card.title}. ${answer.card.text}` : "Done.");
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    card = error.card();
    announce(`${card.title}. ${card.text}`);
  }
  await read();
  const item = card && all().find((node) => node.dataset.id === id);
  if (!item) return;
  item.querySelector(".said-back")?.remove();
  item.append(h("div", { class: "said-back", "data-testid": "said-back" }, drawCard({ ...card, buttons: [] }, { onButton: null, onExample: null, quiet: true })));
}

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  const items = all();
  const at = items.indexOf(document.activeElement?.closest?.(".item"));
  const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
  if (step && items.length > 0) {
    event.preventDefault();
    const next = items[at < 0 ? 0 : Math.min(items.length - 1, Math.max(0, at + step))];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  } else if (at >= 0 && KEYS[event.key]) {
    const button = items[at].querySelector(`[data-testid="do-${KEYS[event.key]}"]`);
    if (!button) return;
    event.preventDefault();
    button.click();
  }
});

// ---- reading ---------------------------------------------------------------------------------------------------------

async function read() {
  const who = me;
  const [pages, reviews] = await Promise.all([
    Promise.all(VIEWS.map((view) => get(`/v1/approvals?view=${view}`))),
    get("/v1/reviews?open=true"),
  ]);
  if (who !== me) return;
  VIEWS.forEach((view, index) => draw(view, pages[index].items, drawInvocation));
  draw("reviews", reviews.items, drawReview);
  const count = pages[0].items.length;
  waiting.show(count);
  document.title = count > 0 ? `(${count}) Approvals · Opsgate` : "Approvals · Opsgate";
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(() => read().catch(trouble), SOON);
}

function trouble(error) {
  if (!(error instanceof Trouble)) throw error;
  byId("empty").hidden = false;
  const again = h("button", { type: "button", class: "button primary", onclick: start }, "Try again");
  byId("empty").replaceChildren(drawCard(error.card(), { onButton: null, onExample: null }), again);
}

/** Be whoever the token belongs to: nothing of the person before stays on the page. */
async function enter() {
  feed?.stop();
  closeMenu();
  document.body.dataset.live = "no";
  byId("empty").hidden = true;
  try {
    const found = await get("/v1/whoami");
    me = { id: found.id, name: found.name, groups: found.groups };
    byId("me").replaceChildren(avatar(me), h("span", { "data-person": me.id }, me.name));
    for (const { node } of shown.values()) node.remove();
    shown.clear();
    await read();
  } catch (error) {
    trouble(error);
    return;
  }
  follow();
}

function follow() {
  feed = new Feed({
    open: openFeed,
    onEvent: (event) => {
      if (event.invocation) soon();
      if (event.notice) health.tell(event.notice);
    },
    onOpen: (resumed) => {
      health.connected();
      document.body.dataset.live = "yes";
      if (!resumed) soon();
    },
    onLost: () => {
      health.disconnected();
      document.body.dataset.live = "no";
    },
  });
  feed.run();
}

async function start() {
  try {
    await settle(enter);
  } catch (error) {
    trouble(error);
    return;
  }
  if (session.token || session.signedIn.person) await enter();
}

start();
