/** Builds elements out of data. Refuses markup: every text becomes a text node, never HTML. */

/** An element. Properties starting with "on" are listeners; null, undefined and false are left out. */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

/** A coloured circle with the initial; the colour follows the id, so that it is the same in every window. */
export function avatar(person) {
  let sum = 0;
  for (const letter of person.id) sum += letter.codePointAt(0);
  const initial = (Array.from(person.name || person.id)[0] ?? "?").toUpperCase();
  return h("span", { class: `avatar hue-${sum % 8}`, "aria-hidden": "true" }, initial);
}

/** A sentence of the gateway, with what stands in backticks set as code. */
export const prose = (text) => text.split(/`([^`]+)`/).map((part, index) => (index % 2 ? h("code", {}, part) : part));

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const SECONDS = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** `at`: milliseconds since 1970. */
export function clock(at, { seconds = false } = {}) {
  const date = new Date(at);
  return h("time", { datetime: date.toISOString(), title: FULL.format(date) }, (seconds ? SECONDS : CLOCK).format(date));
}

export function dayOf(at) {
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return "Today";
  return days === 1 ? "Yesterday" : DAY.format(new Date(at));
}

/** Says it to a screen reader without moving the focus. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** A command line as people type it here: with "/ops" in front. */
export const asLine = (text) => (/^\/ops(\s|$)/.test(text) ? text : `/ops ${text}`);
