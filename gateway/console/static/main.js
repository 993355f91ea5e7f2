/** Puts the chat room together: who is here, which channel, what arrives. Refuses to know how anything is drawn. */

import { all, get, openFeed, session, Trouble } from "./api.js";
import { drawCard, drawExample } from "./cards.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { announce, avatar, byId, h } from "./dom.js";
import { EntryList } from "./entries.js";
import { Feed } from "./feed.js";
import { Health } from "./health.js";
import { settle } from "./people.js";
import { Room } from "./room.js";
import { closeMenu } from "./shell.js";
import { Thread } from "./thread.js";
import { Waiting } from "./waiting.js";

const FIRST_LINE = "/ops deploy staging api-service";
const MORE_LINES = ["/ops help", "/ops status api-service", "/ops deploy production api-service --version 1.4.2"];
const NEAR_THE_END = 120;

const channels = [...document.querySelectorAll("[data-channel]")].map((link) => link.dataset.channel);
const here = () => (channels.includes(location.hash.slice(1)) ? location.hash.slice(1) : channels[0]);
const scroll = byId("scroll");

const room = new Room();
const health = new Health();
const waiting = new Waiting();
let commands = [];
let feed = null;

const chat = new Chat({ room, show: display, remove: takeOff, changed: onChanged });
const doing = {
  press: (entry, button) => chat.press(entry, button),
  fill: (line) => composer.fill(line),
  openThread: (entry) => thread.open(entry),
  goTo: (key) => list.shown.get(key)?.scrollIntoView({ block: "center", behavior: "smooth" }),
  dismiss: (entry) => { entry.note = null; display(entry); },
  replies: (entry) => room.replies(entry.key).length,
};
const list = new EntryList(byId("messages"), doing);
const thread = new Thread({ room, doing });
const world = () => ({ commands, open: room.open(here()).map(({ key, card }) => ({ id: key, title: card.title })) });
const composer = new Composer(byId("composer"), {
  world,
  send: (line) => {
    if (!room.me) return composer.fill(line); // nobody is here yet to say it
    chat.say(line, here());
    return toEnd();
  },
});
new Composer(byId("reply"), { world, send: (line) => chat.say(line, here(), thread.key) });

/** Put an entry where it belongs on the page: the channel, its thread, or both. */
function display(entry) {
  if (entry.channel !== here()) return;
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR_THE_END;
  const root = room.find(entry.thread);
  list.show(root ?? entry);
  if (thread.key !== null && [entry.key, entry.thread].includes(thread.key)) thread.update(entry);
  byId("empty").hidden = true;
  if (atEnd) toEnd();
  else if (!root) byId("newer").hidden = false;
}

function takeOff(entry) {
  list.remove(entry.key);
  thread.replies?.remove(entry.key);
  const root = room.find(entry.thread);
  if (root) list.show(root);
}

function onChanged(entry, what) {
  if (entry.channel === here()) {
    const shown = list.shown.get(entry.key)?.querySelector(".card")?.dataset.tone;
    display(entry);
    if (what === "new" || shown !== entry.card.tone) announce(`${entry.card.title}. ${entry.card.text}`);
  } else if (what === "new" && channels.includes(entry.channel)) {
    room.channel(entry.channel).unread += 1;
    markChannels();
  }
}

function toEnd() {
  scroll.scrollTop = scroll.scrollHeight;
  byId("newer").hidden = true;
}

/** Read the newest of a channel, or what came before the oldest shown. */
async function readHistory(name, earlier = false) {
  const me = room.me;
  const channel = room.channel(name);
  const cursor = earlier ? `&cursor=${encodeURIComponent(channel.earlier)}` : "";
  const page = await get(`/v1/invocations?channel=${encodeURIComponent(name)}&limit=30${cursor}`);
  if (room.me !== me) return;
  for (const invocation of page.items) room.take(invocation);
  if (earlier || !channel.loaded) channel.earlier = page.next;
  channel.loaded = true;
  if (name !== here()) return;
  const below = scroll.scrollHeight - scroll.scrollTop;
  showChannel();
  if (earlier) scroll.scrollTop = scroll.scrollHeight - below;
}

function showChannel() {
  const name = here();
  const channel = room.channel(name);
  const entries = room.main(name);
  channel.unread = 0;
  byId("channel-name").textContent = name;
  document.title = `#${name} · Opsgate`;
  list.showAll(entries);
  byId("earlier").hidden = !channel.earlier;
  byId("empty").hidden = entries.length > 0 || !channel.loaded;
  if (!byId("empty").hidden) drawEmpty();
  markChannels();
  toEnd();
}

function markChannels() {
  for (const link of document.querySelectorAll("[data-channel]")) {
    const { unread } = room.channel(link.dataset.channel);
    if (link.dataset.channel === here()) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    const badge = link.querySelector(".unread");
    badge.hidden = unread === 0;
    badge.textContent = String(unread);
  }
}

function drawEmpty() {
  const fill = (line) => composer.fill(line);
  byId("empty").replaceChildren(
    h("h2", {}, `Nothing was asked in #${here()} yet`),
    h("p", {}, "Type a command below. Opsgate checks who you are, asks the policy, collects the approvals it needs, and runs it where everybody can see."),
    h("p", { class: "try" }, "A first one to try:"),
    h("p", {}, drawExample(FIRST_LINE, fill)),
    h("p", { class: "try" }, "And then:"),
    h("p", { class: "examples" }, MORE_LINES.map((line) => drawExample(line, fill))));
}

function drawTrouble(error) {
  if (!(error instanceof Trouble)) throw error;
  const again = h("button", { type: "button", class: "button primary", onclick: start }, "Try again");
  byId("empty").hidden = false;
  byId("empty").replaceChildren(drawCard(error.card(), { onButton: null, onExample: null }), again);
}

function onEvent(event) {
  if (event.invocation) {
    chat.hear(event.invocation);
    waiting.look();
  }
  if (event.log.length > 0) thread.addLog(event.invocation_id, event.log);
  if (event.notice) {
    health.tell(event.notice);
    readCommands();
  }
}

/** Without the catalog one can still type; only nothing is completed. */
async function readCommands() {
  const me = room.me;
  try {
    const items = await all("/v1/commands");
    if (room.me !== me) return;
    commands = items;
    composer.refresh();
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    health.tell(`The commands could not be read, so nothing is completed. ${error.message}`);
  }
}

/** Be whoever the token belongs to: nothing of the person before stays on the page. */
async function enter() {
  feed?.stop();
  thread.close();
  room.clear();
  closeMenu();
  document.body.dataset.live = "no";
  showChannel();
  try {
    const me = await get("/v1/whoami");
    room.me = { id: me.id, name: me.name };
    byId("me").replaceChildren(avatar(room.me), h("span", { "data-person": me.id }, me.name));
    if (matchMedia("(hover: hover)").matches) byId("line").focus(); // on a phone it would open the keyboard
    commands = [];
    readCommands();
    waiting.look();
    await readHistory(here());
  } catch (error) {
    drawTrouble(error);
    return;
  }
  follow();
}

function follow() {
  let first = true;
  feed = new Feed({
    open: openFeed,
    onEvent,
    onOpen: (resumed) => {
      health.connected();
      document.body.dataset.live = "yes";
      if (!resumed) readHistory(here()).catch(drawTrouble);
      if (!first) readCommands(); // the gateway may have come back with another catalog
      first = false;
    },
    onLost: () => {
      health.disconnected();
      document.body.dataset.live = "no";
    },
  });
  feed.run();
}

async function start() {
  showChannel();
  try {
    await settle(enter);
  } catch (error) {
    drawTrouble(error);
    return;
  }
  if (session.token || session.signedIn.person) await enter();
}

byId("earlier").addEventListener("click", () => readHistory(here(), true).catch(drawTrouble));
byId("newer").addEventListener("click", toEnd);
scroll.addEventListener("scroll", () => {
  if (scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 10) byId("newer").hidden = true;
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("line").focus();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, dialog");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  composer.fill(byId("line").value || "/");
});
addEventListener("hashchange", () => {
  closeMenu();
  thread.close();
  showChannel();
  if (!room.channel(here()).loaded) readHistory(here()).catch(drawTrouble);
});

start();
