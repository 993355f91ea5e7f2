/** Who this window is: who signed in, a persona of the practice room, or a token's owner. Keeps nothing beyond it. */

import { become, personas, session } from "./api.js";
import { avatar, byId, h } from "./dom.js";

/**
 * Whoever signed in in this browser. Practice room: list the personas and be one of them: the one in the address
 * (`/?as=bob`), the one this window was before, or, with nobody signed in, the first. Elsewhere: offer signing in, or
 * ask for a token. `onChange()`: somebody else from now on.
 */
export async function settle(onChange) {
  await session.look();
  drawSession();
  if (document.body.dataset.practice === "yes") await practice(onChange);
  else signIn(onChange);
}

function drawSession() {
  const { signs_in: offered, person, name } = session.signedIn;
  byId("session").hidden = !offered;
  byId("session-who").textContent = person ? `Signed in as ${name}.` : "";
  byId("session-link").textContent = person ? "Sign out" : "Sign in";
  byId("session-link").href = person ? "/logout" : `/login?then=${encodeURIComponent("/" + location.search)}`;
}

async function practice(onChange) {
  const people = await personas();
  const wanted = new URLSearchParams(location.search).get("as") ?? session.persona;
  history.replaceState(null, "", location.pathname + location.hash);
  const id = people.some((person) => person.id === wanted) ? wanted : people[0].id;
  const list = byId("personas");
  const mark = () => {
    for (const button of list.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.persona === session.persona));
    }
  };
  const be = async (person) => {
    await become(person.id);
    mark();
    onChange();
  };
  list.replaceChildren(...people.map((person) => drawPersona(person, be)));
  const chosen = people.some((person) => person.id === wanted);
  if (!chosen && session.signedIn.person) session.forget();
  else if (id !== session.persona || !session.token) await become(id);
  mark();
}

function drawPersona(person, be) {
  return h("li", {},
    h("button", {
      type: "button", class: "persona", "aria-pressed": "false",
      "data-persona": person.id, "data-testid": `persona-${person.id}`,
      onclick: () => be(person),
    }, avatar(person), h("span", {}, h("strong", {}, person.name), h("small", {}, person.title))),
    h("a", {
      class: "icon small", href: `/?as=${encodeURIComponent(person.id)}`, target: "_blank", rel: "noopener",
      title: `${person.name} in a new window`, "aria-label": `${person.name} in a new window`,
    }, "↗"));
}

function signIn(onChange) {
  byId("sign-in").onsubmit = (event) => {
    event.preventDefault();
    session.signIn(byId("token").value.trim());
    byId("token").value = "";
    onChange();
  };
  if (!session.token && !session.signedIn.person) document.body.dataset.menu = "open";
}
