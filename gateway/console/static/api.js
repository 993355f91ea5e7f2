/** The REST API as the page uses it. Keeps a token for this window only, a sign-in not at all: its cookie does. */

const TOKEN = "opsgate.token";
const PERSONA = "opsgate.persona";

/** What went wrong, in words for a person. `status` is 0 when nobody answered. */
export class Trouble extends Error {
  constructor(status, problem) {
    super(problem.detail);
    this.status = status;
    this.problem = problem;
  }

  /** The same as a card, so that it is shown like any other answer. */
  card() {
    const { title, detail, suggestion, examples = [], errors = [] } = this.problem;
    const lines = [suggestion, ...examples].filter(Boolean);
    return { tone: "failure", title, text: detail, facts: [], bullets: errors, progress: null, buttons: [], examples: [...new Set(lines)], footer: "" };
  }
}

let signedIn = { signs_in: false, person: null, name: "", csrf: "" };

export const session = {
  /** Who signed in in this browser: `{signs_in, person, name, csrf}`. A token of this window goes before it. */
  get signedIn() { return signedIn; },
  async look() { signedIn = await get("/v1/session"); },
  get token() { return sessionStorage.getItem(TOKEN); },
  get persona() { return sessionStorage.getItem(PERSONA); },
  /** Be whoever this token belongs to. */
  signIn(token, persona = "") {
    sessionStorage.setItem(TOKEN, token);
    sessionStorage.setItem(PERSONA, persona);
  },
  /** Be whoever signed in in this browser. */
  forget() {
    sessionStorage.removeItem(TOKEN);
    sessionStorage.removeItem(PERSONA);
  },
};

export const personas = () => get("/v1/dev/personas");

/** Practice room only: get a token for this persona and use it from now on. */
export async function become(id) {
  const { token } = await json(await send("POST", `/v1/dev/personas/${encodeURIComponent(id)}/token`, {}));
  session.signIn(token, id);
}

export const get = (path, options = {}) => withToken((headers) => send("GET", path, { ...options, headers })).then(json);

/** `key` makes a repeated POST harmless: give the same one to try the same action again. */
export function post(path, body, key = crypto.randomUUID()) {
  const extra = { "Content-Type": "application/json", "Idempotency-Key": key };
  return withToken((headers) => send("POST", path, { headers: { ...headers, ...extra }, body: JSON.stringify(body) })).then(json);
}

/** The open feed, as a Response whose body never ends. */
export function openFeed(lastId, signal) {
  const extra = { Accept: "text/event-stream", ...(lastId ? { "Last-Event-ID": lastId } : {}) };
  return withToken((headers) => send("GET", "/v1/events", { headers: { ...headers, ...extra }, signal, cache: "no-store" }));
}

/** All items of a paged list. */
export async function all(path) {
  const items = [];
  let next = "";
  do {
    const page = await get(next ? `${path}?cursor=${encodeURIComponent(next)}` : path);
    items.push(...page.items);
    next = page.next;
  } while (next);
  return items;
}

/** The gateway's own state; a 503 carries the same body as a 200. */
export async function readiness() {
  const response = await fetch("/readyz", { cache: "no-store", signal: AbortSignal.timeout(8000) });
  return response.json();
}

/** A persona's token may have run out while the window slept: get a new one and go on, once. */
async function withToken(call) {
  const proof = () => (signedIn.csrf ? { "X-Opsgate-CSRF": signedIn.csrf } : {});
  const headers = () => (session.token ? { Authorization: `Bearer ${session.token}` } : proof());
  try {
    return await call(headers());
  } catch (error) {
    if (!(error instanceof Trouble) || error.status !== 401 || !session.persona) throw error;
    await become(session.persona);
    return call(headers());
  }
}

async function send(method, path, options) {
  let response;
  try {
    response = await fetch(path, { method, redirect: "error", credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble(0, { title: "No answer", detail: "The gateway does not answer. Check that it runs, then try again." });
  }
  if (response.ok) return response;
  throw new Trouble(response.status, await problemOf(response));
}

async function problemOf(response) {
  try {
    const body = await response.json();
    if (typeof body.detail === "string" && typeof body.title === "string") return body;
  } catch {
    // Not JSON: something between this page and the gateway answered.
  }
  return { title: "Unexpected answer", detail: `The gateway answered with status ${response.status}. Try again in a moment.` };
}

const json = (response) => response.json();
