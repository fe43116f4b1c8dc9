// What an operator can have done: asked once more before, and told what came of it.

import { at, make } from "./words.js";

const SHOWN_MILLISECONDS = 9000;
const LONGEST_MILLISECONDS = 10000;

const QUESTIONS = {
  reclaim: () => ["Collect memory?", "Every worker empties its caches, collects garbage and gives free memory back. Requests go on; for a moment they are slower.", "Collect"],
  recycle: ({ worker }) => (worker === undefined
    ? ["Recycle all workers?", "Each is replaced by a fresh one, one after the other. What has begun is finished first; no request is lost.", "Recycle all"]
    : [`Recycle worker ${worker}?`, "A fresh one takes its place. What it has begun is finished first; no request is lost.", "Recycle"]),
  "cache/clear": ({ name }) => (name === undefined
    ? ["Clear all caches?", "In every worker, and what they keep in Redis. What is asked for next has to be fetched anew.", "Clear all"]
    : [`Clear the cache “${name}”?`, "In every worker, and what it keeps in Redis. What is asked for next has to be fetched anew.", "Clear"]),
};

let wanted = null;
let timer = 0;

export function tell(text, ...more) {
  clearTimeout(timer);
  at("toast").replaceChildren(text, ...more);
  timer = setTimeout(() => (at("toast").textContent = ""), SHOWN_MILLISECONDS);
}

// Offered by a button with data-act, and perhaps data-worker or data-name.
export function offerActions(base, onDone) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (button) ask(button);
  });
  at("dialog-no").addEventListener("click", () => at("dialog").close());
  at("dialog-yes").addEventListener("click", () => {
    at("dialog").close();
    act(base, wanted.act, wanted.values, onDone);
  });
}

function ask(button) {
  const { act: name, worker, name: cache } = button.dataset;
  const values = { ...(worker !== undefined && { worker }), ...(cache !== undefined && { name: cache }) };
  wanted = { act: name, values };
  const [title, text, yes] = QUESTIONS[name](values);
  at("dialog-title").textContent = title;
  at("dialog-text").textContent = text;
  at("dialog-yes").textContent = yes;
  at("dialog").showModal();
  at("dialog-no").focus();
}

async function act(base, name, values, onDone) {
  const url = new URL(`act/${name}`, base);
  for (const [key, value] of Object.entries(values)) url.searchParams.set(key, value);
  tell("Working…");
  // Until there is an answer, or none for too long.
  clearTimeout(timer);
  try {
    const signal = AbortSignal.timeout(LONGEST_MILLISECONDS);
    const answer = await fetch(url, { method: "POST", headers: { "X-Tonnage-Action": "1" }, signal });
    const said = await answer.json().catch(() => ({}));
    if (answer.ok) {
      tell(sentence(said.detail ?? "Done"));
      onDone(name);
    } else if (answer.status === 403) tell("Not done: to look is allowed, to act needs more. ", make("a", { href: new URL("login", base).href }, "Log in"));
    else tell(`Not done: ${said.detail ?? said.error ?? answer.status}`);
  } catch (error) {
    if (error.name === "TimeoutError") tell("There is no answer yet: it may still be done.");
    else tell("Not done: the server does not answer.");
  }
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1).split("; ")[0];
}
