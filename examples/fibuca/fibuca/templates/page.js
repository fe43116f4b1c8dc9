"use strict";
const at = (id) => document.getElementById(id);
const MOST_BYTES = 2 * 1024 * 1024;
const PIXELS = 1600; // longer sides than this gain nothing on a card

// The key is all that tells who somebody is; so it stays in this browser.
let key = localStorage.getItem("fibuca-key") || "";
let job = "";
let chosen = null;
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

class Refused extends Error {}
const away = () => new Refused("The server cannot be reached. Try again.");

// What is refused says why, in `detail`, whoever refused it.
async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { "X-Member-Key": key } })
    .catch(() => { throw away(); });
  if (answer.ok) return answer;
  const why = await answer.json().catch(() => ({}));
  const error = new Refused(why.detail || "That did not work. Try again.");
  error.status = answer.status;
  throw error;
}

function show(step) {
  const steps = { join: "join", photo: "send", card: "done" };
  const names = Object.keys(steps);
  for (const [number, name] of names.entries()) {
    at(steps[name]).hidden = name !== step;
    const mark = at(`step-${name}`);
    mark.classList.toggle("is-done", number < names.indexOf(step));
    if (name === step) mark.setAttribute("aria-current", "step");
    else mark.removeAttribute("aria-current");
  }
  at("leave").hidden = !key;
}

function say(text) {
  at("said").textContent = text;
  at("said").hidden = !text;
  if (text) at("said").scrollIntoView({ block: "nearest" });
}

// Whatever is done on a click: what goes wrong is said, and called what it is.
const doing = (work) => async (event) => {
  event?.preventDefault();
  say("");
  try {
    await work(event);
  } catch (error) {
    if (error instanceof Refused) return say(error.message);
    console.error(error);
    say("Something is wrong with this page. Load it again.");
  }
};

at("join").onsubmit = doing(async () => {
  const body = new FormData(at("join"));
  const member = await (await ask("members", { method: "POST", body })).json();
  key = member.key;
  localStorage.setItem("fibuca-key", key);
  show("photo");
});

at("leave").onclick = doing(async () => {
  if (!confirm("Leave the club? Your card and your photo will be gone.")) return;
  await ask("me", { method: "DELETE" });
  forget();
});

function forget() {
  key = "";
  localStorage.removeItem("fibuca-key");
  choose(null);
  show("join");
}

// The photo.

function choose(file) {
  URL.revokeObjectURL(at("preview").src);
  chosen = file;
  at("make").disabled = !file;
  at("preview").hidden = !file;
  at("hint").hidden = Boolean(file);
  if (file) at("preview").src = URL.createObjectURL(file);
  else at("send").reset();
}

at("preview").onerror = () => {
  if (!chosen) return;
  choose(null);
  say("This file cannot be shown as a picture: choose a JPEG or a PNG.");
};
at("photo").onchange = () => { say(""); choose(at("photo").files[0] || null); };
for (const kind of ["dragover", "dragleave", "drop"]) {
  at("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("is-over", kind === "dragover");
    if (kind === "drop" && !at("photo").disabled) choose(event.dataTransfer.files[0] || null);
  });
}

// Phones take photos of several MB, and 2 are taken here: it is made smaller before it is sent.
async function small(file) {
  if (file.size <= MOST_BYTES) return file;
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) return file; // the server says what is wrong with it
  const scale = Math.min(1, PIXELS / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(picture.width * scale);
  canvas.height = Math.round(picture.height * scale);
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return new Promise((done) => canvas.toBlob((blob) => done(blob || file), "image/jpeg", 0.9));
}

// `fetch` does not tell how much it has sent.
const upload = (body) => new Promise((done, fail) => {
  const request = new XMLHttpRequest();
  request.open("POST", "me/photo");
  request.setRequestHeader("X-Member-Key", key);
  request.responseType = "json";
  request.upload.onprogress = (sent) => stage("Sending your photo…", 100 * sent.loaded / sent.total);
  request.onerror = () => fail(away());
  request.onload = () => {
    if (request.status < 300) done(request.response);
    else fail(new Refused(request.response?.detail || "The photo was not taken. Try again."));
  };
  request.send(body);
});

function stage(text, percent = null) {
  at("stage").textContent = text;
  if (percent === null || percent >= 100) at("bar").removeAttribute("value");
  else at("bar").value = percent;
}

function busy(is) {
  at("progress").hidden = !is;
  at("stop").hidden = true;
  at("make").disabled = is || !chosen;
  at("photo").disabled = is;
}

at("send").onsubmit = doing(async () => {
  const body = new FormData();
  body.append("photo", await small(chosen), "photo");
  busy(true);
  stage("Sending your photo…", 0);
  try {
    job = (await upload(body)).id;
    at("stop").hidden = false;
    if (await followed()) {
      await showCard();
      choose(null);
    }
  } finally {
    job = "";
    busy(false);
  }
});

at("stop").onclick = doing(() => ask(`me/photo/jobs/${job}`, { method: "DELETE" }));

// Return whether there is a portrait now.
async function followed() {
  for (;;) {
    const found = await (await ask(`me/photo/jobs/${job}`)).json();
    // One that was stopped too late is `expired`: its portrait is there.
    if (found.status === "done" || found.status === "expired") return true;
    if (found.status === "cancelled") return false;
    if (found.status === "failed") throw new Refused(found.problem.detail);
    const ahead = (found.place || 1) - 1;
    if (found.status === "waiting" && ahead) stage(`Waiting: ${ahead} before you…`);
    else stage("Taking the background away…");
    await wait(700);
  }
}

// The card.

async function showCard() {
  for (const kind of ["png", "pdf"]) {
    URL.revokeObjectURL(at(kind).href);
    at(kind).href = URL.createObjectURL(await (await ask(`me/card.${kind}`)).blob());
  }
  at("card").src = at("png").href;
  at("card").alt = "Your membership card";
  show("card");
}

at("again").onclick = () => { at("back").hidden = false; show("photo"); };
at("back").onclick = () => { say(""); show("card"); };

// Who comes back goes on where he or she was.
doing(async () => {
  if (!key) return show("join");
  try {
    const member = await (await ask("me")).json();
    if (member.photo) await showCard();
    else show("photo");
  } catch (error) {
    if (error.status === 401) return forget();
    show("join");
    throw error;
  }
})();
