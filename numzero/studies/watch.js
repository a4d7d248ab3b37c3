// Follows a run: asks whether there is news, and puts the new page in the place of this one.
const PAUSE = 3000;
let seen = document.body.dataset.version;

async function news() {
  const answer = await fetch("version");
  const version = await answer.text();
  if (!answer.ok) return say(version);
  if (version === seen) return say("");
  const page = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
  if (page.body.dataset.version === undefined) return;
  const open = [...document.querySelectorAll("details")].map((each) => each.open);
  document.body.replaceChildren(...page.body.childNodes);
  document.querySelectorAll("details").forEach((each, n) => { each.open = Boolean(open[n]); });
  document.title = page.title;
  seen = page.body.dataset.version;
}

function say(sentence) {
  const line = document.querySelector(".live");
  line.dataset.said ??= line.textContent;
  line.textContent = sentence || line.dataset.said;
}

async function follow() {
  try {
    await news();
  } catch {
    say("This page is no longer served: what it shows is what was known last.");
  }
  setTimeout(follow, PAUSE);
}
setTimeout(follow, PAUSE);
