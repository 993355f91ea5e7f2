/** What could be typed next. Pure: text before the caret and the catalog in, suggestions out. Decides nothing. */

const OPTION = /^--([A-Za-z][\w-]*)(?:=(.*))?$/s;
const option = (name, type, summary) => ({ name, type, summary, required: false, choices: [], option: true });

/** What every command takes beside its own arguments. */
const OPTIONS = [
  option("reason", "reason", "Why; written to the audit log"),
  option("ticket", "string", "The key of the change ticket"),
  option("break_glass", "string", "The incident for which approvals and freezes are passed by; for whoever is on call"),
];

const one = (name, type, summary) => ({ name, type, summary, required: true, choices: [] });
const builtIn = (name, usage, summary, params = []) =>
  ({ name, usage, summary, params, aliases: [], targets: {}, may: "allow", builtIn: true });

/** What the gateway answers by itself; everything else comes from the catalog. */
const BUILT_INS = [
  builtIn("help", "help [COMMAND]", "What can be asked, or how one command works", [one("command", "command", "Which command")]),
  builtIn("why", "why [--as PERSON] COMMAND …", "What would be decided, and why; nothing runs"),
  builtIn("history", "history", "What was asked lately"),
  builtIn("whoami", "whoami", "Who the gateway thinks you are"),
  builtIn("approve", "approve ID", "Say yes to what somebody asked", [one("id", "invocation", "Which one")]),
  builtIn("reject", "reject ID REASON", "Say no, and why", [one("id", "invocation", "Which one")]),
  builtIn("withdraw", "withdraw ID", "Take back your own yes or no", [one("id", "invocation", "Which one")]),
  builtIn("approvals", "approvals", "What waits for you"),
  builtIn("reviews", "reviews", "Uses of broken glass that nobody has looked at yet"),
  builtIn("review", "review ID WHAT YOU FOUND", "Close a review"),
  builtIn("links", "links", "Chat accounts that are yours"),
  builtIn("unlink", "unlink ACCOUNT", "Take a chat account away from yourself"),
  builtIn("delegate", "delegate PERSON 8h REASON", "Let somebody vote in your place for a while"),
  builtIn("delegations", "delegations", "Who votes in whose place"),
  builtIn("undelegate", "undelegate ID", "End a delegation"),
  builtIn("cancel", "cancel ID", "Stop something that waits or runs", [one("id", "invocation", "Which one")]),
];

/**
 * `text`: the line up to the caret. `world`: {commands: CommandView[], open: [{id, title}]}.
 * Gives {from, items: [{insert, label, detail, may}], hint}. `from`: where the word begins that an item replaces;
 * `may`: "allow", "pending", "deny" or null. `hint`: {usage, expects, may} of the command being typed, or null.
 */
export function complete(text, world) {
  const words = split(text);
  const none = { from: text.length, items: [], hint: null };
  if (text.trim() === "") return none;
  if (words.length === 1 && "/ops".startsWith(words[0].text)) {
    return { ...none, from: 0, items: [item("/ops", "Ask Opsgate for something")] };
  }
  if (words[0].text === "/ops") words.shift();
  while (words.length > 1 && words[0].text === "why") words.shift();
  if (words.length > 2 && words[0].text === "--as") words.splice(0, 2);
  const catalog = [...world.commands, ...BUILT_INS.filter((b) => !world.commands.some((c) => c.name === b.name))];
  const current = words.at(-1);
  if (words.length === 1) return { from: current.at, items: matching(current.text, commandItems(catalog)), hint: null };
  const command = catalog.find((c) => c.name === words[0].text || c.aliases.includes(words[0].text));
  if (!command) return none;
  return completeArguments(command, words.slice(1, -1).map((word) => word.text), current, { ...world, catalog });
}

function completeArguments(command, given, current, world) {
  const { open, awaited, values } = readArguments(command, given);
  const inline = OPTION.exec(current.text);
  const named = inline?.[2] !== undefined ? open.find((p) => p.name === inline[1].replaceAll("-", "_")) : null;
  const positional = open.find((p) => isPositional(command, p));
  const expects = awaited ?? named ?? positional ?? null;
  let items = [];
  if (named) {
    items = matching(inline[2], choices(command, named, world)).map((i) => ({ ...i, insert: `--${inline[1]}=${i.insert}` }));
  } else if (awaited) {
    items = matching(current.text, choices(command, awaited, world));
  } else {
    if (positional && !current.text.startsWith("-")) items = matching(current.text, choices(command, positional, world));
    if (!positional?.required || current.text.startsWith("-")) items.push(...matching(current.text, optionItems(command, open)));
  }
  const place = values.find((value) => value in command.targets);
  return { from: current.at, items, hint: { usage: command.usage, expects, may: place ? command.targets[place] : command.may } };
}

/** Which params are still open after these words, which one waits for its value, and all values seen. */
function readArguments(command, given) {
  let open = command.builtIn ? [...command.params] : [...command.params, ...OPTIONS];
  let awaited = null;
  const values = [];
  for (const word of given) {
    const option = OPTION.exec(word);
    const pair = /^(\w+)=(.*)$/s.exec(word);
    if (awaited && !option) {
      values.push(word);
      awaited = null;
    } else if (option || (pair && open.some((p) => p.name === pair[1]))) {
      const [, name, value] = option ?? pair;
      const param = open.find((p) => p.name === name.replaceAll("-", "_"));
      awaited = value === undefined && param?.type !== "boolean" ? (param ?? null) : null;
      if (value !== undefined) values.push(value);
      open = open.filter((p) => p !== param);
    } else {
      const next = open.find((p) => isPositional(command, p));
      open = open.filter((p) => p !== next);
      values.push(word);
    }
  }
  return { open, awaited, values };
}

/** The catalog shows a param that can only be given by name as `--name` in the usage. */
const isPositional = (command, param) => !param.option && !command.usage.includes(`--${param.name} `);

function commandItems(catalog) {
  return catalog.flatMap((c) => [
    { insert: c.name, label: c.name, detail: c.summary, may: c.may },
    ...c.aliases.map((alias) => ({ insert: alias, label: alias, detail: `the same as ${c.name}`, may: c.may, aside: true })),
  ]);
}

function choices(command, param, world) {
  if (param.type === "command") return commandItems(world.catalog).filter((i) => !i.aside);
  if (param.type === "invocation") return world.open.map(({ id, title }) => item(id, title));
  const values = param.type === "boolean" ? ["true", "false"] : param.choices;
  return values.map((value) => ({ ...item(quoted(value), param.summary), may: command.targets[value] ?? null }));
}

const optionItems = (command, open) =>
  open.filter(() => !command.builtIn).map((p) => item(`--${p.option ? p.name.replaceAll("_", "-") : p.name}`, p.summary));

const item = (text, detail) => ({ insert: text, label: text, detail, may: null });
const quoted = (value) => (/[\s"']/.test(value) ? JSON.stringify(value) : value);

/** Those that begin with it, those that contain it, then what is not allowed; an alias only when it begins with it. */
function matching(typed, items) {
  const word = typed.toLowerCase();
  const starts = items.filter((i) => i.label.toLowerCase().startsWith(word) && !(i.aside && word === ""));
  const contains = items.filter((i) => !i.aside && !starts.includes(i) && word.length > 1 && i.label.toLowerCase().includes(word));
  const refused = (i) => i.may === "deny";
  const both = [...starts, ...contains];
  const found = [...both.filter((i) => !refused(i)), ...both.filter(refused)];
  return found.length === 1 && found[0].insert === typed ? [] : found;
}

/** Words with their positions; the last is the one at the caret, maybe empty. A quoted text is one word. */
function split(text) {
  const words = Array.from(text.matchAll(/"[^"]*(?:"|$)|'[^']*(?:'|$)|\S+/g), (m) => ({ text: m[0], at: m.index }));
  const last = words.at(-1);
  if (!last || last.at + last.text.length < text.length) words.push({ text: "", at: text.length });
  return words;
}
