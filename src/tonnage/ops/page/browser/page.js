// The page: listens to the server, and has what comes shown.

import { offerActions, tell } from "./acting.js";
import { showChart } from "./chart.js";
import { listen } from "./live.js";
import { showState } from "./show.js";
import { showTank } from "./tank.js";
import { at, bytes, duration, make, say } from "./words.js";

const HISTORY_MILLISECONDS = 5000;

// All is asked for beside this file, wherever the page is served.
const beside = (name) => new URL(name, import.meta.url);

let last = null;
// What had been collected when somebody asked for more.
let before = null;

function onState(state) {
  const isFirst = last === null;
  last = state;
  showState(state);
  showTank(state);
  if (isFirst) readHistory();
  if (before !== null && state.status.reclaims > before.reclaims) {
    tell(`Collected: ${bytes(Math.max(0, state.status.reclaimed_bytes - before.reclaimed_bytes))} came free.`);
    before = null;
  }
}

const NOTICES = {
  lost: () => (last ? ["The connection is lost; these figures are ", age(), " old. They come back by themselves."]
    : ["The server does not answer. It is asked again and again."]),
  refused: () => [last ? "The log-in does not hold any more; these figures are old. " : "This is for operators. ",
    make("a", { href: beside("login").href }, "Log in")],
};

function age() {
  return make("span", { id: "age", "aria-hidden": "true" });
}

function onLink(link, seconds) {
  const shown = at("link").dataset;
  const isNew = shown.link !== link;
  shown.link = link;
  say(at("link-text"), link === "lost" ? "connection lost" : link);
  document.body.classList.toggle("stale", link in NOTICES && last !== null);
  at("notice").hidden = !(link in NOTICES);
  if (isNew && link in NOTICES) at("notice").replaceChildren(...NOTICES[link]());
  if (at("age") && seconds !== null) say(at("age"), duration(seconds));
}

async function readHistory() {
  if (!last || document.hidden) return;
  try {
    const answer = await fetch(beside("history"));
    if (answer.ok) showChart(await answer.json(), last.marks);
  } catch {
    // Whoever looks is told by the missing states.
  }
}

offerActions(import.meta.url, (name) => {
  if (name === "reclaim" && last) before = last.status;
});
setInterval(readHistory, HISTORY_MILLISECONDS);
listen(beside("live"), beside("state"), onState, onLink);
