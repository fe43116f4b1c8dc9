// The connection: states come in as events; where none comes, it says how old the last one is.
// A page that nobody sees has none: browsers keep six to one server, for all tabs together.

const OLD_SECONDS = 3;
const AGAIN_MILLISECONDS = 2000;
const LONGEST_AGAIN_MILLISECONDS = 30000;
const LONGEST_ANSWER_MILLISECONDS = 10000;

// onLink is told "connecting", "live", "lost" or "refused", and how many seconds ago something was
// heard last (null: never).
export function listen(url, state, onState, onLink) {
  let heardAt = null;
  let again = AGAIN_MILLISECONDS;
  let isRefused = false;
  let source = null;
  let timer = 0;
  let shownAt = performance.now();

  function open() {
    source = new EventSource(url);
    source.onmessage = (event) => {
      heardAt = performance.now();
      again = AGAIN_MILLISECONDS;
      isRefused = false;
      onState(JSON.parse(event.data));
      onLink("live", 0);
    };
    source.onerror = () => {
      // A browser gives up for good where the answer is no stream of events, as without the right
      // to see it, or (some) where nobody answers.
      if (source.readyState === EventSource.CLOSED) retry();
    };
  }

  async function retry() {
    timer = setTimeout(open, again);
    again = Math.min(2 * again, LONGEST_AGAIN_MILLISECONDS);
    const signal = AbortSignal.timeout(LONGEST_ANSWER_MILLISECONDS);
    const answer = await fetch(state, { method: "HEAD", signal }).catch(() => null);
    isRefused = answer?.status === 403;
    tell();
  }

  function onVisibility() {
    clearTimeout(timer);
    source?.close();
    if (document.hidden) return;
    shownAt = performance.now();
    again = AGAIN_MILLISECONDS;
    open();
  }

  function tell() {
    // What is old because nobody looked is not lost.
    if (document.hidden || performance.now() - shownAt < OLD_SECONDS * 1000) return;
    const age = heardAt === null ? null : (performance.now() - heardAt) / 1000;
    if (isRefused) onLink("refused", age);
    else if (age === null) onLink(source?.readyState === EventSource.CLOSED ? "lost" : "connecting", age);
    else if (age > OLD_SECONDS) onLink("lost", age);
  }

  document.addEventListener("visibilitychange", onVisibility);
  if (!document.hidden) open();
  setInterval(tell, 1000);
}
