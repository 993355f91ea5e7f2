/** Draws the neutral message card. Refuses to add words of its own to what the gateway said, but for the state's name. */

import { asLine, h, prose } from "./dom.js";

const STATE_WORDS = { waiting: "Waiting", running: "Running", success: "Done", failure: "Problem", denied: "Not allowed" };

/**
 * `onButton(button)`, `onExample(line)`: what to do when pressed. `extra`: more elements for the last row.
 * `quiet`: without the state's pill, for answers that are no state of anything.
 */
export function drawCard(card, { onButton, onExample, extra = [], quiet = false }) {
  const word = quiet ? null : STATE_WORDS[card.tone];
  return h("article", { class: `card tone-${card.tone}`, "data-testid": "card", "data-tone": card.tone },
    h("header", {},
      h("h3", { "data-testid": "card-title" }, card.title),
      word && h("span", { class: "pill" }, word)),
    card.text && h("p", { class: "card-text", "data-testid": "card-text" }, prose(card.text)),
    card.progress && drawProgress(card.progress, card.title),
    card.facts.length > 0 && h("dl", { class: "facts" },
      card.facts.map((fact) => h("div", {}, h("dt", {}, fact.label), h("dd", {}, fact.value)))),
    card.bullets.length > 0 && h("ul", { class: "bullets" }, card.bullets.map((text) => h("li", {}, prose(text)))),
    card.buttons.length > 0 && h("div", { class: "actions" }, card.buttons.map((button) => drawButton(button, onButton))),
    safeLinks(card).length > 0 && h("div", { class: "actions" }, safeLinks(card).map(drawLink)),
    card.examples.length > 0 && h("div", { class: "examples" },
      card.examples.map((text) => drawExample(text, onExample))),
    (card.footer || extra.length > 0) && h("footer", {}, h("span", { class: "footer-text" }, card.footer), extra));
}

function drawProgress(progress, title) {
  const share = progress.percent === null ? {} : { value: progress.percent };
  return h("div", { class: "progress" },
    h("progress", { max: 100, ...share, "aria-label": `Progress of ${title}`, "data-testid": "progress" }),
    h("span", { "aria-hidden": "true" }, progress.percent === null ? "" : `${progress.percent} %`));
}

function drawButton(button, onButton) {
  return h("button", {
    type: "button",
    class: `button ${button.style}`,
    "data-testid": `button-${button.action}`,
    "data-focus": button.action,
    title: asLine(button.command),
    onclick: () => onButton(button),
  }, button.label);
}

/** Pages of the web only: any other scheme could run something here. */
const safeLinks = (card) => (card.links ?? []).filter((link) => /^https?:\/\//i.test(link.url));

function drawLink(link) {
  return h("a", {
    class: "button primary",
    href: link.url,
    target: "_blank",
    rel: "noopener noreferrer",
    "data-testid": "card-link",
  }, link.label);
}

export function drawExample(text, onExample) {
  const line = asLine(text);
  return h("button", { type: "button", class: "example", "data-testid": "example", onclick: () => onExample(line) }, line);
}
