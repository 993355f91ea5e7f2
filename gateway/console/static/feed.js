/** Follows the feed: Server-Sent Events over fetch, because EventSource cannot carry a token. Resumes where it stopped. */

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
const SILENCE = 40_000; // the gateway says something every 15 s

export class Feed {
  /**
   * `open(lastId, signal)` gives the Response. `onEvent(event)` gets each FeedEvent.
   * `onOpen(resumed)`: connected; events may have been missed unless resumed. `onLost()`: trying again by itself.
   */
  constructor({ open, onEvent, onOpen, onLost }) {
    Object.assign(this, { open, onEvent, onOpen, onLost });
    this.lastId = "";
    this.stopped = false;
    this.abort = new AbortController();
    this.hurry = () => this.wake?.();
    addEventListener("online", this.hurry);
  }

  stop() {
    this.stopped = true;
    removeEventListener("online", this.hurry);
    this.abort.abort();
    this.wake?.();
  }

  async run() {
    let wait = FIRST_WAIT;
    while (!this.stopped) {
      try {
        await this.follow(() => { wait = FIRST_WAIT; });
      } catch (error) {
        // A position the gateway no longer knows must not keep us out for good.
        if (error.status >= 400 && error.status < 500) this.lastId = "";
      }
      if (this.stopped) return;
      this.onLost();
      await this.sleep(wait * (0.75 + Math.random() / 2));
      wait = Math.min(wait * 2, LONGEST_WAIT);
    }
  }

  async follow(opened) {
    this.abort = new AbortController();
    let watchdog;
    const beat = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => this.abort.abort(), SILENCE);
    };
    try {
      beat();
      const response = await this.open(this.lastId, this.abort.signal);
      if (this.stopped) return;
      opened();
      this.onOpen(this.lastId !== "");
      for await (const { id, data } of messages(response.body, beat)) {
        if (this.stopped) return;
        if (id) this.lastId = id;
        if (data) this.onEvent(JSON.parse(data));
      }
    } finally {
      clearTimeout(watchdog);
      this.abort.abort();
    }
  }

  sleep(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => { clearTimeout(timer); resolve(); };
    });
  }
}

/** The messages in a stream of bytes. `beat` is called for every piece, comments included. */
async function* messages(body, beat) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let message = { id: "", data: "" };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    beat();
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.map((text) => text.replace(/\r$/, ""))) {
      if (line === "") {
        if (message.data || message.id) yield message;
        message = { id: "", data: "" };
      } else if (line.startsWith("id:")) {
        message.id = line.slice(3).trim();
      } else if (line.startsWith("data:")) {
        message.data += (message.data && "\n") + line.slice(5).trimStart();
      }
    }
  }
}
